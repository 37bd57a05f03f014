"""What of the rows of a batch decides their rates, besides time and size."""

from typing import Any

import polars as pl

from spanledger.prices.layers import Layers, Name
from spanledger.prices.tiers import tier_of

#: The kinds of scope that have a column of the ledger, which says whom a call belongs to.
_COLUMNS = {"tenant": "tenant", "project": "project", "key": "api_key_id"}
_BETWEEN = "\0"


def asked(rows: pl.DataFrame, layers: Layers) -> pl.DataFrame:
    """The columns that a call's name is made of, a row each; the rows may lack any column, and may be such rows already."""
    columns = {"provider": _text(rows, "provider"), "model": _model(rows), "service_tier": _tier(rows)}
    columns["region"] = _region(rows, layers)
    if layers.sizes:
        columns["variant"] = _text(rows, "variant")
    for kind, column in _COLUMNS.items():
        values = {value for scope, value in layers.belongings if scope == kind}
        if values:
            columns[column] = _among(_text(rows, column), values)
    tags = {value for scope, value in layers.belongings if scope == "tag"}
    if tags:
        columns["tagged"] = _tagged(rows, tags)
    return rows.select(expression.alias(name) for name, expression in columns.items())


def _region(rows: pl.DataFrame, layers: Layers) -> pl.Expr:
    seen = rows["region"].unique().to_list() if "region" in rows.columns else []
    matter = {region: found for region in seen if (found := layers.region(region)) is not None}
    if not matter:
        return pl.lit(None, pl.String)
    return pl.col("region").replace_strict(matter, default=None, return_dtype=pl.String)


def named(row: dict[str, Any]) -> Name:
    """The name that a row of `asked` stands for."""
    belongs = [(kind, row[column]) for kind, column in _COLUMNS.items() if row.get(column) is not None]
    belongs += [("tag", tag) for tag in (row.get("tagged") or "").split(_BETWEEN) if tag]
    return Name(
        provider=row["provider"], model=row["model"], tier=tier_of(row["service_tier"]), region=row.get("region"),
        variant=row.get("variant") or "", belongs=tuple(belongs),
    )  # fmt: skip


def _tagged(rows: pl.DataFrame, tags: set[str]) -> pl.Expr:
    """Which of `tags` a row has, as one text."""
    if "tags" not in rows.columns:
        return _text(rows, "tagged")
    pair = pl.element().struct.field("key") + "=" + pl.element().struct.field("value")
    return pl.col("tags").list.eval(pair.filter(pair.is_in(sorted(tags)))).list.sort().list.join(_BETWEEN)


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
