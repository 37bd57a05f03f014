"""What of the rows of a batch decides their rates, besides time and size."""

from typing import Any

import polars as pl

from spanledger.prices.layers import Layers, Name
from spanledger.prices.tiers import tier_of

#: The ledger's columns that say whom a call belongs to, by the kind of scope.
_COLUMNS = {"tenant": "tenant", "project": "project", "key": "api_key_id"}


def asked(rows: pl.DataFrame, layers: Layers) -> pl.DataFrame:
    """The columns that a call's name is made of, a row each; the rows may lack any column."""
    columns = {"provider": _text(rows, "provider"), "model": _model(rows), "tier": _tier(rows)}
    if layers.regions:
        columns["region"] = _among(_text(rows, "region"), layers.regions)
    for kind, column in _COLUMNS.items():
        values = {value for scope, value in layers.belongings if scope == kind}
        if values:
            columns[kind] = _among(_text(rows, column), values)
    for tag in sorted(value for scope, value in layers.belongings if scope == "tag"):
        columns[f"tag {tag}"] = _tagged(rows, tag)
    return rows.select(expression.alias(name) for name, expression in columns.items())


def named(row: dict[str, Any]) -> Name:
    """The name that a row of `asked` stands for."""
    belongs = [(kind, row[kind]) for kind in _COLUMNS if row.get(kind) is not None]
    belongs += [("tag", row[column]) for column in row if column.startswith("tag ") and row[column] is not None]
    return Name(
        provider=row["provider"], model=row["model"], tier=tier_of(row["tier"]), region=row.get("region"), belongs=tuple(belongs)
    )


def _tagged(rows: pl.DataFrame, tag: str) -> pl.Expr:
    if "tags" not in rows.columns:
        return pl.lit(None, pl.String)
    name, _, value = tag.partition("=")
    wanted = (pl.element().struct.field("key") == name) & (pl.element().struct.field("value") == value)
    return pl.when(pl.col("tags").list.eval(wanted).list.any()).then(pl.lit(tag))


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
