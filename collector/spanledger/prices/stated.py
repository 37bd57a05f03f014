"""The money columns of an entry: amounts, and in words what they are worth."""

from dataclasses import dataclass

import polars as pl

from spanledger.prices.amounts import Amounts, money
from spanledger.prices.flagged import flags_of
from spanledger.prices.keys import Tables
from spanledger.prices.meters import COMPONENTS
from spanledger.prices.names import provider_id
from spanledger.prices.settings import Settings
from spanledger.prices.usage import Usage

MONEY = pl.Decimal(20, 12)

AMOUNT_COLUMNS = ("cost_usd", *[f"{component}_cost_usd" for component in COMPONENTS], "list_cost_usd")
WORD_COLUMNS = ("cost_state", "unpriced_reason", "priced_as", "price_match", "price_revision")


@dataclass(frozen=True, slots=True)
class Charged:
    """What the cells say of each row, under contract and at list price."""

    usage: Usage
    tables: Tables
    keys: pl.Series
    cells: pl.Series
    amounts: Amounts
    listed: Amounts
    listed_cells: pl.Series


def stated(rows: pl.DataFrame, charged: Charged, revision: str, settings: Settings) -> pl.DataFrame:
    """`AMOUNT_COLUMNS`, `WORD_COLUMNS` and `flags`, a row each."""
    tables, amounts, used = charged.tables, charged.amounts, charged.usage
    mine = _known(amounts, used, tables, charged.cells)
    theirs = mine if charged.listed is amounts else _known(charged.listed, used, tables, charged.listed_cells)
    table = mine.with_columns(
        theirs["known"].alias("list_known"),
        tables.priced_as.gather(charged.keys),
        tables.match.gather(charged.keys),
        used.reported,
        _bool(rows, "duplicate", pl.col("kind") == "duplicate", "kind"),
        _bool(rows, "failed", pl.col("outcome") == "error", "outcome"),
        _bool(rows, "cut_short", pl.col("cut_short"), "cut_short"),
    ).with_columns(
        # What a provider refuses or fails to answer it does not charge; a stream that broke off it does.
        nothing=pl.col("duplicate") | (pl.col("failed") & ~pl.col("reported") & ~pl.col("cut_short"))
    )
    sign = pl.when(rows["calls"] < 0).then(-1).otherwise(1) if "calls" in rows.columns else pl.lit(1)
    # Times one, nothing, or null: what is not known stays so.
    factors = table.select(
        pl.when("nothing").then(0).when("known").then(sign).cast(pl.Int128).alias("mine"),
        pl.when("nothing").then(0).when("list_known").then(sign).cast(pl.Int128).alias("list"),
    )
    cost = money(amounts.cost * factors["mine"])
    table = table.select(
        cost.alias("cost_usd"),
        *[money(amounts.parts[c] * factors["mine"]).alias(f"{c}_cost_usd") for c in COMPONENTS],
        (cost if charged.listed is amounts else money(charged.listed.cost * factors["list"])).alias("list_cost_usd"),
        pl.when("nothing").then(pl.lit("free")).when("known").then("state").otherwise(pl.lit("unpriced")).alias("cost_state"),
        pl.when(~pl.col("nothing")).then("why").alias("unpriced_reason"),
        pl.when(~pl.col("duplicate")).then("priced_as").alias("priced_as"),
        pl.when(~pl.col("duplicate")).then("price_match").alias("price_match"),
        pl.lit(revision).alias("price_revision"),
        "nothing",
        "duplicate",
        pl.col("partly") & ~pl.col("nothing"),
    )
    if settings.profile == "development":
        table = _all_free(table)
    else:
        table = _reported(table, rows, settings)
    flags = flags_of(rows, charged.tables, charged.cells, {
        "counters_inconsistent": used.inconsistent,
        "part_at_parent_rate": amounts.inherited & ~table["nothing"],
        "part_unpriced": table["partly"],
        "size_unknown": _size_unknown(rows, charged),
    }, quiet=table["duplicate"])  # fmt: skip
    return table.select(*AMOUNT_COLUMNS, *WORD_COLUMNS).with_columns(flags)


def _known(amounts: Amounts, used: Usage, tables: Tables, cells: pl.Series) -> pl.DataFrame:
    """Why there is no price, whether there is one for all or a part all the same, and the state if there is."""
    table = pl.DataFrame(
        [
            tables.state.gather(cells), tables.reason.gather(cells), amounts.missing, amounts.priced, amounts.absurd,
            used.reported, used.out_of_range,
        ]
    )  # fmt: skip
    lacks = pl.col("missing").is_not_null()
    absurd = pl.col("absurd") | pl.col("out_of_range")
    why = (
        pl.when(pl.col("reason").is_not_null()).then(pl.col("reason"))
        .when(absurd).then(pl.lit("usage out of range"))
        .when(~pl.col("reported") & ~pl.col("priced") & (pl.col("state") != "free")).then(pl.lit("no usage reported"))
        .otherwise("missing")
    )  # fmt: skip
    partly = lacks & pl.col("priced") & pl.col("reason").is_null() & ~absurd
    return table.select("state", why.alias("why"), partly.alias("partly")).with_columns(
        known=pl.col("why").is_null() | pl.col("partly")
    )


def _reported(table: pl.DataFrame, rows: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """What the sender reports as the cost, where that is the truth or all there is."""
    if "reported_cost_usd" not in rows.columns or rows["reported_cost_usd"].null_count() == rows.height:
        return table
    spelled = rows["provider"].unique().to_list() if "provider" in rows.columns else []
    trusted = [p for p in spelled if p and settings.precedence.get(provider_id(p), settings.precedence.get("*")) == "reported"]
    table = table.with_columns(rows["reported_cost_usd"].cast(MONEY).alias("claim"))
    preferred = pl.lit(False)
    if trusted:
        table = table.with_columns(rows["provider"].is_in(trusted).fill_null(False).alias("trusted"))
        preferred = pl.col("trusted") & (pl.col("claim") >= 0)
    # Emitters that know no price say zero.
    stands_in = (pl.col("cost_state") == "unpriced") & (pl.col("claim") > 0) & settings.reported_when_unpriced
    taken = (preferred | stands_in).fill_null(False) & ~pl.col("nothing")
    others = pl.sum_horizontal([pl.col(f"{c}_cost_usd").fill_null(0) for c in COMPONENTS if c != "other"])
    return table.with_columns(
        pl.when(taken).then(pl.col("claim")).otherwise(pl.col("cost_usd")).cast(MONEY).alias("cost_usd"),
        # The components stay as computed, and `other` takes the difference, so that they sum to the cost.
        pl.when(taken).then(pl.col("claim") - others).otherwise(pl.col("other_cost_usd")).cast(MONEY).alias("other_cost_usd"),
        *[pl.when(taken).then(pl.col(f"{c}_cost_usd").fill_null(0)).otherwise(pl.col(f"{c}_cost_usd")).cast(MONEY).alias(f"{c}_cost_usd")
          for c in COMPONENTS if c != "other"],
        pl.when(taken).then(pl.lit("reported")).otherwise(pl.col("cost_state")).alias("cost_state"),
        pl.col("partly") & ~taken,
    )  # fmt: skip


def _all_free(table: pl.DataFrame) -> pl.DataFrame:
    zero = pl.lit(0).cast(MONEY)
    return table.with_columns(
        *[zero.alias(name) for name in AMOUNT_COLUMNS if name != "list_cost_usd"],
        cost_state=pl.lit("free"), unpriced_reason=pl.lit(None, pl.String), partly=pl.lit(False),
    )  # fmt: skip


def _size_unknown(rows: pl.DataFrame, charged: Charged) -> pl.Series:
    """Where one entry stands for several calls and the rate depends on the size of each."""
    sized = charged.tables.sized.gather(charged.cells)
    return sized & (rows["calls"] > 1).fill_null(False) if "calls" in rows.columns else sized & False


def _bool(rows: pl.DataFrame, name: str, condition: pl.Expr, column: str) -> pl.Series:
    if column not in rows.columns:
        return pl.repeat(False, rows.height, dtype=pl.Boolean, eager=True).alias(name)
    return rows.select(condition.fill_null(False).cast(pl.Boolean).alias(name)).to_series()
