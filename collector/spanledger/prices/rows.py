"""From the rows of a batch to the keys that price them: each distinct name is resolved once."""

from dataclasses import dataclass

import polars as pl

from spanledger.prices.keys import Keys, Tables
from spanledger.prices.layers import Layers, Name
from spanledger.prices.tiers import tier_of

#: The ledger's columns that say whom a call belongs to, by the kind of scope.
_COLUMNS = {"tenant": "tenant", "project": "project", "key": "api_key_id"}


@dataclass(frozen=True, slots=True)
class Keyed:
    """The key of each row, and its key at list price where contracts exist."""

    keys: pl.Series
    listed: pl.Series | None
    tables: Tables


def keyed(rows: pl.DataFrame, layers: Layers, keys: Keys) -> Keyed:
    """The keys of the rows of a batch, which may lack any column."""
    columns = {"provider": _text(rows, "provider"), "model": _model(rows), "tier": _tier(rows)}
    if layers.regions:
        columns["region"] = _among(_text(rows, "region"), layers.regions)
    belongs: dict[str, tuple[str, str]] = {}
    for kind, column in _COLUMNS.items():
        values = {value for scope, value in layers.belongings if scope == kind}
        if values and column in rows.columns:
            columns[kind] = _among(_text(rows, column), values)
            belongs[kind] = (kind, "")
    if "tags" in rows.columns:
        for tag in sorted(value for scope, value in layers.belongings if scope == "tag"):
            name, _, value = tag.partition("=")
            wanted = (pl.element().struct.field("key") == name) & (pl.element().struct.field("value") == value)
            columns[f"tag {tag}"] = pl.when(pl.col("tags").list.eval(wanted).list.any()).then(pl.lit(tag))
            belongs[f"tag {tag}"] = ("tag", "")
    asked = rows.select(expression.alias(name) for name, expression in columns.items())
    # A column that says nothing in this batch costs a comparison per row all the same.
    telling = [name for name in columns if asked[name].null_count() < asked.height] or ["provider"]
    distinct = asked.unique(telling)
    names = [
        Name(
            provider=row["provider"], model=row["model"], tier=tier_of(row["tier"]), region=row.get("region"),
            belongs=tuple((kind, row[column]) for column, (kind, _) in belongs.items() if row[column] is not None),
        )
        for row in distinct.iter_rows(named=True)
    ]  # fmt: skip
    contracts = any(rule.layer == "contract" for rule in layers.rules)
    plain = [Name(provider=n.provider, model=n.model, tier=n.tier, region=n.region, listed=True) for n in names]
    found, tables = keys.of([*names, *plain] if contracts else names)
    numbered = distinct.select(telling).with_columns(
        pl.Series("key", found[: len(names)], pl.Int32), pl.Series("listed", found[-len(names) :], pl.Int32)
    )
    placed = asked.select(telling).join(numbered, on=telling, how="left", nulls_equal=True, maintain_order="left")
    return Keyed(placed["key"], placed["listed"] if contracts else None, tables)


def _text(rows: pl.DataFrame, column: str) -> pl.Expr:
    return pl.col(column).cast(pl.String) if column in rows.columns else pl.lit(None, pl.String)


def _model(rows: pl.DataFrame) -> pl.Expr:
    if "model" in rows.columns and "requested_model" in rows.columns and rows["model"].null_count():
        return pl.coalesce("model", "requested_model").cast(pl.String)
    return _text(rows, "model" if "model" in rows.columns else "requested_model")


def _tier(rows: pl.DataFrame) -> pl.Expr:
    tier = _text(rows, "service_tier")
    if "batch" not in rows.columns or not rows["batch"].cast(pl.Boolean).any():
        return tier
    return pl.when(pl.col("batch")).then(pl.lit("batch")).otherwise(tier)


def _among(column: pl.Expr, values: set[str] | frozenset[str]) -> pl.Expr:
    return pl.when(column.is_in(sorted(values))).then(column)
