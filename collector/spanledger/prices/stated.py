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
    cost = money(_signed(amounts.cost, rows))
    mine = _known(amounts, used, tables, charged.cells)
    theirs = mine if charged.listed is amounts else _known(charged.listed, used, tables, charged.listed_cells)
    theirs = [column.alias(f"list {column.name}") for column in theirs]
    table = pl.DataFrame(
        [
            *[money(_signed(amounts.parts[component], rows)).alias(f"{component}_cost_usd") for component in COMPONENTS],
            cost.alias("cost_usd"),
            (cost if charged.listed is amounts else money(_signed(charged.listed.cost, rows))).alias("list_cost_usd"),
            *mine,
            *theirs,
            tables.priced_as.gather(charged.keys),
            tables.match.gather(charged.keys),
            used.reported.alias("reported"),
            _bool(rows, "duplicate", pl.col("kind") == "duplicate", "kind"),
            _bool(rows, "failed", pl.col("outcome") == "error", "outcome"),
            _bool(rows, "cut_short", pl.col("cut_short"), "cut_short"),
        ]
    )
    table = table.with_columns(
        # What a provider refuses or fails to answer it does not charge; a stream that broke off it does.
        nothing=pl.col("duplicate") | (pl.col("failed") & ~pl.col("reported") & ~pl.col("cut_short")),
        known=pl.col("why").is_null() | pl.col("partly"),
        list_known=pl.col("list why").is_null() | pl.col("list partly"),
    )
    zero = pl.lit(0).cast(MONEY)
    state = (
        pl.when(pl.col("nothing")).then(pl.lit("free")).when(pl.col("known")).then(pl.col("state")).otherwise(pl.lit("unpriced"))
    )
    table = table.select(
        *[
            pl.when(pl.col("nothing")).then(zero).when(pl.col("list_known" if name == "list_cost_usd" else "known")).then(pl.col(name)).alias(name)
            for name in AMOUNT_COLUMNS
        ],
        state.alias("cost_state"),
        pl.when(~pl.col("nothing")).then(pl.col("why")).alias("unpriced_reason"),
        pl.when(~pl.col("duplicate")).then(pl.col("priced_as")).alias("priced_as"),
        pl.when(~pl.col("duplicate")).then(pl.col("price_match")).alias("price_match"),
        pl.lit(revision).alias("price_revision"),
        "nothing", "duplicate", partly=pl.col("partly") & ~pl.col("nothing"),
    )  # fmt: skip
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


def _known(amounts: Amounts, used: Usage, tables: Tables, cells: pl.Series) -> list[pl.Series]:
    """Why there is no price, whether there is one for a part all the same, and the state if there is."""
    table = pl.DataFrame(
        [
            tables.state.gather(cells).alias("state"), tables.reason.gather(cells).alias("reason"),
            amounts.missing.alias("missing"), amounts.priced.alias("priced"), amounts.absurd.alias("absurd"),
            used.reported.alias("reported"), used.out_of_range.alias("out_of_range"),
        ]
    )  # fmt: skip
    absurd = (pl.col("absurd") | pl.col("out_of_range")).fill_null(False)
    why = (
        pl.when(pl.col("reason").is_not_null()).then(pl.col("reason"))
        .when(absurd).then(pl.lit("usage out of range"))
        .when(~pl.col("reported") & ~pl.col("priced") & (pl.col("state") != "free")).then(pl.lit("no usage reported"))
        .when(pl.col("missing") != "").then(pl.concat_str(pl.lit("no rate for "), pl.col("missing")))
    )  # fmt: skip
    partly = (pl.col("missing") != "") & pl.col("priced") & pl.col("reason").is_null() & ~absurd
    return [*table.select(why.alias("why"), partly.alias("partly"), "state")]


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


def _signed(pico: pl.Series, rows: pl.DataFrame) -> pl.Series:
    if "calls" not in rows.columns or not (rows["calls"] < 0).any():
        return pico
    return pl.select(pl.when(rows["calls"] < 0).then(-pico).otherwise(pico)).to_series()


def _bool(rows: pl.DataFrame, name: str, condition: pl.Expr, column: str) -> pl.Series:
    if column not in rows.columns:
        return pl.repeat(False, rows.height, dtype=pl.Boolean, eager=True).alias(name)
    return rows.select(condition.fill_null(False).cast(pl.Boolean).alias(name)).to_series()
