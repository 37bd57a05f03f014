"""Entries without money in, entries with money out.

A batch is priced by a join on what its names resolve to and one sum of products in whole pico-dollars (10⁻¹² USD), so
nothing is ever rounded; the few rates that are no whole number of them (audio by the hour, some of OpenRouter's
cache writes) are computed as fractions and rounded once, half to even, at the twelfth decimal.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

import polars as pl

from spanledger.prices.book import Book, Found, microseconds
from spanledger.prices.exact import exact_amounts, fraction_cost
from spanledger.prices.keys import PICO, Keys
from spanledger.prices.meters import BY_COUNTER, CHARGED, COMPONENTS, METERS
from spanledger.prices.quote import Quote
from spanledger.prices.snapshot import Snapshot
from spanledger.prices.tiers import tier_of

MONEY = pl.Decimal(20, 12)
_COLUMNS = tuple(m for m in METERS if m.column)
_WHOLE = tuple(m for m in _COLUMNS if not m.seconds)
_MONEY_COLUMNS = (
    "cost_usd", "input_cost_usd", "cache_read_cost_usd", "cache_write_cost_usd", "output_cost_usd", "other_cost_usd",
    "list_cost_usd",
)  # fmt: skip
#: Above this many USD an amount no longer fits 64 bits in pico-dollars, and no call costs as much.
_ABSURD_USD = 1_000_000.0
_OTHER = pl.List(pl.Struct({"key": pl.String(), "value": pl.Float64()}))

_READ: dict[str, pl.DataType] = {
    "kind": pl.String(), "provider": pl.String(), "model": pl.String(), "requested_model": pl.String(),
    "service_tier": pl.String(), "batch": pl.Boolean(), "outcome": pl.String(), "cost_state": pl.String(),
    "occurred_at": pl.Datetime("us", "UTC"), "reported_cost_usd": MONEY, "flags": pl.List(pl.String()), "other_meters": _OTHER,
    "calls": pl.Int64(), "cut_short": pl.Boolean(),
    **{m.counter: pl.Float64() if m.seconds else pl.Int64() for m in _COLUMNS},
}  # fmt: skip


class Prices:
    """The prices in force: books in the order in which they are asked."""

    def __init__(self, books: Sequence[Book] | None = None) -> None:
        self.books: tuple[Book, ...] = tuple(books) if books is not None else (Snapshot(),)
        self._keys = Keys(self.books)
        first = self.books[0]
        self.revision = f"{first.name} {first.version} sha256:{first.sha256}"

    def price(self, entries: pl.DataFrame) -> pl.DataFrame:
        """`entries` with the money columns of `ledger/schema.py`.

        Entries that already have a `cost_state` (reversals, adjustments) keep it and their amounts; a duplicate costs
        nothing. Columns that are missing are taken as not known.
        """
        rows = entries.select(
            [
                pl.col(name).cast(kind) if name in entries.columns else pl.lit(None, kind).alias(name)
                for name, kind in _READ.items()
            ]
        )
        amounts = self._amounts(rows)
        kept = pl.col("cost_state").is_not_null() if "cost_state" in entries.columns else pl.lit(False)
        out = entries.with_columns(
            [
                pl.when(kept).then(pl.col(column.name).cast(column.dtype)).otherwise(column).alias(column.name)
                if column.name in entries.columns and column.name != "flags"
                else (column if column.name == "flags" or "cost_state" not in entries.columns
                      else pl.when(kept).then(None).otherwise(column).alias(column.name))
                for column in amounts
            ]
        )  # fmt: skip
        if "reported_cost_usd" not in out.columns:
            out = out.with_columns(pl.lit(None, MONEY).alias("reported_cost_usd"))
        return out

    def _amounts(self, rows: pl.DataFrame) -> pl.DataFrame:
        model = pl.coalesce(pl.col("model"), pl.col("requested_model")).alias("model")
        names = rows.select("provider", model, "service_tier", "batch")
        distinct = names.unique()
        keys = [self._keys.key((p, m, tier_of(t, b))) for p, m, t, b in distinct.iter_rows()]
        boxes, rates, named = self._keys.tables()
        keyed = names.join(
            distinct.with_columns(pl.Series("key", keys, pl.Int32)),
            on=["provider", "model", "service_tier", "batch"], how="left", nulls_equal=True, maintain_order="left",
        )  # fmt: skip

        counted = rows.select(
            [pl.col(m.counter).fill_null(0).abs() for m in _WHOLE]
            + [pl.col(m.counter).fill_null(0.0).abs() for m in _COLUMNS if m.seconds]
        )
        counted = counted.with_columns(
            pl.max_horizontal("cache_write_tokens", pl.col("cache_write_5m_tokens") + pl.col("cache_write_1h_tokens"))
            .alias("cache_write_tokens"),
            pl.when(pl.col("requests") == 0).then(1).otherwise(pl.col("requests")).alias("requests"),
        )  # fmt: skip
        cached = pl.col("cache_read_tokens") + pl.col("cache_write_tokens")
        # An input that is smaller than what it is said to include was sent without it.
        exclusive = cached > pl.col("input_tokens")
        counted = counted.with_columns(
            exclusive.alias("exclusive"),
            pl.when(exclusive).then(pl.col("input_tokens") + cached).otherwise(pl.col("input_tokens")).alias("input_tokens"),
        )

        at = pl.col("occurred_at").dt.epoch("us").fill_null(0)
        seconds = at // 1_000_000
        placed = pl.DataFrame(
            {
                "row": pl.Series(range(rows.height), dtype=pl.UInt32),
                "key": keyed["key"],
                "at": rows.select(at).to_series(),
                "minute": rows.select((seconds // 60 % 1440).cast(pl.Int32)).to_series(),
                "weekday": rows.select(((seconds // 86_400 + 3) % 7).cast(pl.Int32)).to_series(),
                "size": counted["input_tokens"],
            }
        )
        chosen = (
            placed.join(boxes, on="key", how="inner")
            .filter(
                (pl.col("at") >= pl.col("starts")) & (pl.col("at") < pl.col("ends"))
                & (pl.col("minute") >= pl.col("minute_from")) & (pl.col("minute") < pl.col("minute_to"))
                & (pl.col("size") > pl.col("over")) & (pl.col("size") <= pl.col("upto"))
            )
            .sort("row")
        )  # fmt: skip
        if chosen.height != rows.height:
            raise AssertionError("the cells of a key must cover all time and sizes once")
        table = pl.concat(
            [counted, rates[chosen["cell"]], named[keyed["key"]], chosen.select("cell"),
             rows.select("kind", "outcome", "flags", "cut_short", "other_meters", negative=pl.col("calls") < 0)],
            how="horizontal",
        )  # fmt: skip
        return self._money(table)

    def _money(self, table: pl.DataFrame) -> pl.DataFrame:
        leaves = {
            m.counter: pl.sum_horizontal([pl.col(c) * w for c, w in CHARGED[m.counter].items() if BY_COUNTER[c].column])
            for m in _WHOLE
        }
        short = pl.any_horizontal(
            [leaves[c] < 0 for c in ("input_tokens", "cache_read_tokens", "output_tokens", "input_audio_tokens")]
        )
        table = table.with_columns(
            (short | pl.col("exclusive")).alias("inconsistent"),
            *[pl.max_horizontal(leaf, 0).alias(f"leaf.{name}") for name, leaf in leaves.items()],
        )
        used = [m for m in _WHOLE if m.counter == "requests" or table[f"leaf.{m.counter}"].max()]
        lacking = [
            pl.when((pl.col(f"leaf.{m.counter}") > 0) & pl.col(f"rate.{m.counter}").is_null()).then(pl.lit(m.counter))
            for m in used if m.counter != "requests"
        ]  # fmt: skip
        rough = pl.sum_horizontal(
            [pl.col(f"leaf.{m.counter}").cast(pl.Float64) * pl.col(f"rate.{m.counter}").fill_null(0) for m in used]
        )
        parts = {
            c: pl.sum_horizontal([pl.col(f"leaf.{m.counter}") * pl.col(f"rate.{m.counter}").fill_null(0) for m in used if m.component == c]
                                 or [pl.lit(0, pl.Int64)])
            for c in COMPONENTS
        }  # fmt: skip
        table = table.with_columns(
            *[part.alias(f"part.{c}") for c, part in parts.items()],
            (pl.concat_str(lacking, separator=", ", ignore_nulls=True) if lacking else pl.lit("")).alias("lacking"),
            (rough > _ABSURD_USD * PICO).alias("absurd"),
            pl.any_horizontal(
                [(pl.col(f"leaf.{m.counter}") > 0) & pl.col(f"rate.{m.counter}").is_not_null() for m in used]
            ).alias("charged"),
            pl.any_horizontal([pl.col(m.counter) > 0 for m in _COLUMNS if m.counter != "requests"]).alias("any"),
        )
        fine = (
            ~pl.col("whole")
            | pl.any_horizontal([pl.col(m.counter) > 0 for m in _COLUMNS if m.seconds])
            | (pl.col("other_meters").list.len() > 0)
        )
        table = table.with_columns((fine & pl.col("cell_reason").is_null()).fill_null(False).alias("fine"))
        table = exact_amounts(table, self._keys.cells)
        return _stated(table, self.revision)

    def cost_of(
        self, provider: str | None, model: str | None, at: datetime, input_tokens: int = 0, output_tokens: int = 0, *,
        service_tier: str | None = None, batch: bool | None = None, **counters: float,
    ) -> Quote:  # fmt: skip
        """What one call would cost. `counters` are further counters of the ledger, by their column's name.

        A few microseconds once the name has been met; for holds.
        """
        key = self._keys.key((provider, model, tier_of(service_tier, batch)))
        found = self._keys.found(key)
        moment = microseconds(at)
        minute = moment // 60_000_000 % 1440
        for index in self._keys.cells_of(key):
            cell = self._keys.cells[index]
            if (
                cell.starts <= moment < cell.ends
                and cell.minute_from <= minute < cell.minute_to
                and cell.over < input_tokens <= cell.upto
            ):
                break
        named = f"{found.provider}/{found.model}" if isinstance(found, Found) else None
        match = found.match if isinstance(found, Found) else None
        if cell.unpriced is not None:
            return Quote(cost_usd=None, cost_state="unpriced", unpriced_reason=cell.unpriced, priced_as=named, price_match=match)
        amounts: dict[str, float] = {"input_tokens": input_tokens, "output_tokens": output_tokens, "requests": 1, **counters}
        lacking = [name for name, amount in amounts.items() if amount and name != "requests" and name not in cell.rates]
        flags = (*(found.flags if isinstance(found, Found) else ()), *cell.flags)
        if lacking:
            return Quote(cost_usd=None, cost_state="unpriced", unpriced_reason=f"no rate for {', '.join(lacking)}",
                         priced_as=named, price_match=match, flags=flags)  # fmt: skip
        pico = sum((fraction_cost(cell, amounts)).values(), Fraction(0))
        state = "free" if cell.free else "estimated" if cell.estimated else "priced"
        return Quote(cost_usd=Decimal(round(pico)).scaleb(-12), cost_state=state, priced_as=named, price_match=match, flags=flags)


def _stated(table: pl.DataFrame, revision: str) -> pl.DataFrame:
    """The money columns from the parts in pico-dollars."""
    reason = (
        pl.when(pl.col("cell_reason").is_not_null()).then(pl.col("cell_reason"))
        .when(pl.col("absurd")).then(pl.lit("usage out of range"))
        .when(~pl.col("any") & pl.col("rate.requests").is_null() & ~pl.col("free")).then(pl.lit("no usage reported"))
        .when(pl.col("lacking") != "").then(pl.concat_str(pl.lit("no rate for "), pl.col("lacking")))
    )  # fmt: skip
    table = table.with_columns(reason.alias("why"))
    unbilled = (pl.col("outcome") == "error") & ~pl.col("any") & ~pl.col("cut_short").fill_null(False)
    nothing = (pl.col("kind") == "duplicate").fill_null(False) | unbilled.fill_null(False)
    known = pl.col("why").is_null() | (
        (pl.col("lacking") != "") & pl.col("charged") & pl.col("cell_reason").is_null() & ~pl.col("absurd")
    )
    table = table.with_columns(nothing.alias("nothing"), known.alias("known"))
    sign = pl.when(pl.col("negative").fill_null(False)).then(-1).otherwise(1)

    def money(pico: pl.Expr) -> pl.Expr:
        exact = ((pico * sign).cast(pl.Decimal(38, 0)) * pl.lit(Decimal("0.000000000001"))).cast(MONEY)
        return pl.when(pl.col("nothing")).then(pl.lit(Decimal(0), MONEY)).when(pl.col("known")).then(exact)

    total = pl.sum_horizontal([pl.col(f"part.{c}") for c in COMPONENTS])
    state = (
        pl.when(pl.col("nothing")).then(pl.lit("free"))
        .when(~pl.col("known")).then(pl.lit("unpriced"))
        .when(pl.col("free")).then(pl.lit("free"))
        .when(pl.col("estimated") | pl.col("name_flags").list.contains("prefix_match")).then(pl.lit("estimated"))
        .otherwise(pl.lit("priced"))
    )  # fmt: skip
    flags = pl.concat_list(
        pl.col("flags").fill_null([]),
        pl.col("name_flags"),
        pl.col("cell_flags"),
        _flag(pl.col("inconsistent"), "counters_inconsistent"),
        _flag(pl.col("known") & (pl.col("lacking") != "") & ~pl.col("nothing"), "part_unpriced"),
    )
    return table.select(
        money(total).alias("cost_usd"),
        *[money(pl.col(f"part.{c}")).alias(f"{c}_cost_usd") for c in COMPONENTS],
        money(total).alias("list_cost_usd"),
        state.alias("cost_state"),
        pl.when(~pl.col("nothing")).then(pl.col("why")).alias("unpriced_reason"),
        pl.when(pl.col("kind").ne_missing("duplicate")).then(pl.col("priced_as")).alias("priced_as"),
        pl.when(pl.col("kind").ne_missing("duplicate")).then(pl.col("price_match")).alias("price_match"),
        pl.lit(revision).alias("price_revision"),
        flags.list.unique(maintain_order=True).alias("flags"),
    )


def _flag(condition: pl.Expr, name: str) -> pl.Expr:
    return pl.when(condition.fill_null(False)).then(pl.lit([name])).otherwise(pl.lit([], pl.List(pl.String)))
