"""The money columns of an entry: amounts, and in words what they are worth."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from spanledger.prices.amounts import Amounts, money
from spanledger.prices.claims import MONEY, Claims
from spanledger.prices.flagged import flags_of
from spanledger.prices.meters import COMPONENTS
from spanledger.prices.settings import Settings
from spanledger.prices.tables import BIT, STATES, Flags, Tables, Wholes
from spanledger.prices.usage import Usage

AMOUNT_COLUMNS = ("cost_usd", *[f"{component}_cost_usd" for component in COMPONENTS], "list_cost_usd")
WORD_COLUMNS = ("cost_state", "unpriced_reason", "priced_as", "price_match", "price_revision")

_STATES = pl.Series("cost_state", STATES)
_FREE, _UNPRICED = STATES.index("free"), STATES.index("unpriced")


@dataclass(frozen=True, slots=True)
class Charged:
    """What the cells say of each row, under contract and at list price."""

    usage: Usage
    tables: Tables
    cells: Wholes
    amounts: Amounts
    listed: Amounts
    listed_cells: Wholes


@dataclass(frozen=True, slots=True)
class _Told:
    """Whether there is a price, for all or a part; why there is none for the rest."""

    known: Flags
    partly: Flags
    why: pl.Series


def stated(rows: pl.DataFrame, charged: Charged, revision: str, settings: Settings, claims: Claims | None) -> pl.DataFrame:
    """`AMOUNT_COLUMNS`, `WORD_COLUMNS` and `flags`, a row each."""
    tables, amounts, used = charged.tables, charged.amounts, charged.usage
    reported = used.reported.to_numpy()
    mine = _told(amounts, used, reported, tables, charged.cells)
    duplicate = _flag(rows, pl.col("kind") == "duplicate", "kind")
    # What a provider refuses or fails to answer it does not charge; a stream that broke off it does.
    nothing = _flag(rows, pl.col("outcome") == "error", "outcome") & ~reported & ~_flag(rows, pl.col("cut_short"), "cut_short")
    nothing |= duplicate
    sign = _sign(rows, nothing)
    cost = money(amounts.cost * sign, mine.known | nothing).alias("cost_usd")
    if charged.listed is amounts:
        listed = cost
    else:
        theirs = _told(charged.listed, used, reported, tables, charged.listed_cells)
        listed = money(charged.listed.cost * sign, theirs.known | nothing)
    state = np.where(mine.known, tables.state[charged.cells], _UNPRICED)
    state[nothing] = _FREE
    cells = pl.Series(charged.cells)
    table = pl.DataFrame(
        [
            cost,
            *[money(amounts.parts[c] * sign, mine.known | nothing).alias(f"{c}_cost_usd") for c in COMPONENTS],
            listed.alias("list_cost_usd"),
            _STATES.gather(pl.Series(state)),
            _without(mine.why, nothing).alias("unpriced_reason"),
            _without(tables.priced_as.gather(cells), duplicate),
            _without(tables.match.gather(cells), duplicate),
            pl.repeat(revision, rows.height, eager=True).alias("price_revision"),
            pl.Series("nothing", nothing),
            pl.Series("partly", mine.partly & ~nothing),
        ]
    )
    table = _all_free(table) if settings.profile == "development" else _reported(table, claims)
    flags = flags_of(rows, tables, charged.cells, {
        "counters_inconsistent": used.inconsistent.to_numpy(),
        "part_at_parent_rate": amounts.inherited & ~nothing,
        "part_unpriced": table["partly"].to_numpy(),
        "size_unknown": _size_unknown(rows, charged),
    }, quiet=duplicate)  # fmt: skip
    return table.select(*AMOUNT_COLUMNS, *WORD_COLUMNS).with_columns(flags)


def _told(amounts: Amounts, used: Usage, reported: Flags, tables: Tables, cells: Wholes) -> _Told:
    state = tables.state[cells]
    unpriced = state == _UNPRICED
    absurd = amounts.absurd | used.out_of_range.to_numpy()
    silent = ~reported & ~amounts.priced & (state != _FREE)
    lacks = amounts.missing != 0
    wrong = ~unpriced & (absurd | silent | lacks)
    why = tables.reason.gather(pl.Series(cells))
    if not wrong.any():
        return _Told(~unpriced, wrong, why)
    at = np.flatnonzero(wrong)
    words = pl.DataFrame({"absurd": absurd[at], "silent": silent[at], "lacks": _named(amounts.missing[at])}).select(
        pl.when("absurd").then(pl.lit("usage out of range"))
        .when("silent").then(pl.lit("no usage reported"))
        .otherwise("lacks")
    ).to_series()  # fmt: skip
    partly = lacks & amounts.priced & ~unpriced & ~absurd
    return _Told(~unpriced & (~wrong | partly), partly, why.scatter(at, words))


def _named(masks: Wholes) -> pl.Series:
    """In words which meters have no rate."""
    distinct, place = np.unique(masks, return_inverse=True)
    words = [
        f"no rate for {', '.join(c for c, bit in BIT.items() if mask & bit)}" if mask else None for mask in distinct.tolist()
    ]
    return pl.Series(words, dtype=pl.String).gather(pl.Series(place))


def _sign(rows: pl.DataFrame, nothing: Flags) -> Wholes:
    """What amounts are multiplied with: a reversal's are negative."""
    sign = np.where(nothing, 0, 1)
    if "calls" in rows.columns:
        sign[_flag(rows, pl.col("calls") < 0, "calls")] *= -1
    return sign


def _without(words: pl.Series, these: Flags) -> pl.Series:
    """The words but for these rows, where there are none."""
    return words.scatter(np.flatnonzero(these), None) if these.any() else words


def _reported(table: pl.DataFrame, claims: Claims | None) -> pl.DataFrame:
    """What the sender reports as the cost, where that is the truth or all there is."""
    if claims is None:
        return table
    table = table.with_columns(
        claims.usd.alias("claim"), pl.Series("trusted", claims.trusted), pl.Series("stands", claims.stands_in)
    )
    stands_in = pl.col("stands") & (pl.col("cost_state") == "unpriced")
    taken = (pl.col("trusted") | stands_in) & ~pl.col("nothing")
    others = pl.sum_horizontal([pl.col(f"{c}_cost_usd").fill_null(0) for c in COMPONENTS if c != "other"])
    return table.with_columns(
        pl.when(taken).then(pl.col("claim")).otherwise(pl.col("cost_usd")).cast(MONEY).alias("cost_usd"),
        # The components stay as computed, and `other` takes the difference, so that they sum to the cost.
        pl.when(taken).then(pl.col("claim") - others).otherwise(pl.col("other_cost_usd")).cast(MONEY).alias("other_cost_usd"),
        *[pl.when(taken).then(pl.col(f"{c}_cost_usd").fill_null(0)).otherwise(pl.col(f"{c}_cost_usd")).cast(MONEY).alias(f"{c}_cost_usd")
          for c in COMPONENTS if c != "other"],
        pl.when(taken).then(pl.lit("reported")).otherwise(pl.col("cost_state")).alias("cost_state"),
        # Of a charge that is the truth nothing is missing.
        pl.when(~pl.col("trusted") | pl.col("nothing")).then(pl.col("unpriced_reason")).alias("unpriced_reason"),
        pl.col("partly") & ~taken,
    )  # fmt: skip


def _all_free(table: pl.DataFrame) -> pl.DataFrame:
    zero = pl.lit(0).cast(MONEY)
    return table.with_columns(
        *[zero.alias(name) for name in AMOUNT_COLUMNS if name != "list_cost_usd"],
        cost_state=pl.lit("free"), unpriced_reason=pl.lit(None, pl.String), partly=pl.lit(False),
    )  # fmt: skip


def _size_unknown(rows: pl.DataFrame, charged: Charged) -> Flags:
    """Where one entry stands for several calls and the rate depends on the size of each."""
    return charged.tables.sized[charged.cells] & _flag(rows, pl.col("calls") > 1, "calls")


def _flag(rows: pl.DataFrame, condition: pl.Expr, column: str) -> Flags:
    """Where a condition on a column holds; nowhere when the rows lack it."""
    if column not in rows.columns:
        return np.zeros(rows.height, np.bool_)
    return rows.select(condition.fill_null(False).cast(pl.Boolean)).to_series().to_numpy()
