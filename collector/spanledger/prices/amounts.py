"""The sum of products: usage times rates in whole grains, rounded once to the twelfth decimal."""

from collections.abc import Mapping

import polars as pl
import pyarrow as pa

from spanledger.prices.keys import BIT, GRAIN, INSTEAD, TOKENS, Tables
from spanledger.prices.meters import BY_COUNTER, COMPONENTS
from spanledger.prices.usage import Usage

#: Grains in a pico-dollar, the last digit of the ledger's money.
PICO = GRAIN // 10**12

#: No single entry costs a million dollars; the ledger's money ends at a hundred.
ABSURD_USD = 1_000_000.0


class Amounts:
    """Pico-dollars by row: the whole and its components, whose sum it is; and what had no rate."""

    def __init__(self, usage: Usage, tables: Tables, cells: pl.Series) -> None:
        parts: dict[str, pl.Expr] = {"input": pl.lit(0, pl.Int128)}
        columns: list[pl.Series] = []
        used: list[pl.Expr] = []
        rough: list[pl.Expr] = []
        most = 0  # that any row can come to
        for counter, amount in usage.charged.items():
            if counter == "audio_seconds" and (tables.least_seconds > 0).any():
                amount = _at_least(amount, tables.least_seconds.gather(cells))
            a, r = f"a.{counter}", f"r.{counter}"
            columns.append(amount.alias(a))
            used.append((pl.col(a) > 0).cast(pl.Int64) * BIT[counter])
            rates = tables.rates[counter]
            if not rates.max():
                continue
            columns.append(rates.gather(cells).alias(r))
            product = pl.col(a).cast(pl.Int128) * pl.col(r)
            component = BY_COUNTER[counter].component
            parts[component] = parts[component] + product if component in parts else product
            rough.append(pl.col(a).cast(pl.Float64) * pl.col(r).cast(pl.Float64))
            most += _largest(amount) * _largest(rates)
        columns += [tables.has.gather(cells), tables.inherits.gather(cells)]
        absurd = pl.sum_horizontal(rough) > ABSURD_USD * GRAIN if most > ABSURD_USD * GRAIN else pl.lit(False)
        mask = pl.sum_horizontal(used)
        by_tokens = pl.col("used") & pl.col("has") & TOKENS != 0
        by_others = (pl.col("used") & pl.col("has") & INSTEAD != 0) & (pl.col("has") & TOKENS == 0)
        # A request is charged by few; and who charges tokens counts images for information.
        needless = pl.when(by_tokens).then(INSTEAD).when(by_others).then(TOKENS).otherwise(0) | BIT["requests"]
        table = pl.DataFrame(columns).with_columns(mask.alias("used")).select(
            *[part.alias(component) for component, part in parts.items()],
            absurd.alias("absurd"),
            (pl.col("used") & ~pl.col("has") & ~needless).alias("missing"),
            (pl.col("used") & pl.col("has") != 0).alias("priced"),
            (pl.col("used") & pl.col("inherits") != 0).alias("inherited"),
        )  # fmt: skip
        self.absurd = table["absurd"]
        self.missing = _named(table["missing"])
        self.priced = table["priced"]
        self.inherited = table["inherited"]
        self.cost, self.parts = _rounded({component: table[component] for component in parts}, table.height)


def money(pico: pl.Series) -> pl.Series:
    """Pico-dollars as the ledger's money: the same 128 bits, read with twelve decimals."""
    whole = pico.cast(pl.Decimal(38, 0)).to_arrow()
    read = pa.Array.from_buffers(pa.decimal128(20, 12), len(whole), whole.buffers(), offset=whole.offset)
    return pl.Series(pico.name, read)


def _rounded(parts: Mapping[str, pl.Series], height: int) -> tuple[pl.Series, dict[str, pl.Series]]:
    """The whole, rounded half to even; and the parts, which take up what rounding leaves so that they sum to it."""
    table = pl.DataFrame(list(parts.values()))
    whole = table.select(pl.all() // PICO).with_columns(pl.sum_horizontal(list(parts)).alias("cost"))
    total = table.select(pl.sum_horizontal(list(parts)).alias("cost")).to_series()
    # Nothing is negative, so nothing was cut off anywhere exactly where nothing is missing from the sum.
    cut = whole.select(pl.lit(total) != pl.col("cost") * PICO).to_series().arg_true()
    if len(cut):
        exact = table[cut].with_columns(total.gather(cut)).select([_half_even(name) for name in [*parts, "cost"]])
        left = pl.col("cost") - pl.sum_horizontal(list(parts))
        largest = pl.max_horizontal(list(parts))
        taken = pl.lit(False)
        changes = []
        for name in parts:
            mine = (pl.col(name) == largest) & ~taken
            changes.append(pl.when(mine).then(pl.col(name) + left).otherwise(pl.col(name)).alias(name))
            taken = taken | (pl.col(name) == largest)
        exact = exact.with_columns(changes)
        whole = whole.with_columns([whole[name].scatter(cut, exact[name]) for name in whole.columns])
    nothing = pl.zeros(height, pl.Int64, eager=True).cast(pl.Int128)
    return whole["cost"], {c: whole[c] if c in parts else nothing for c in COMPONENTS}


def _named(masks: pl.Series) -> pl.Series:
    """In words which counters have no rate; null where there is none."""
    nothing = pl.repeat(None, len(masks), dtype=pl.String, eager=True).alias("missing")
    lacking = (masks != 0).arg_true()
    if not len(lacking):
        return nothing
    lists = masks.gather(lacking)
    words = {mask: f"no rate for {', '.join(c for c, bit in BIT.items() if mask & bit)}" for mask in lists.unique()}
    return nothing.scatter(lacking, lists.replace_strict(words, return_dtype=pl.String))


def _largest(whole: pl.Series) -> int:
    most = whole.max()
    return most if isinstance(most, int) else 0


def _half_even(name: str) -> pl.Expr:
    quotient = pl.col(name) // PICO
    rest = pl.col(name) - quotient * PICO
    up = (rest * 2 > PICO) | ((rest * 2 == PICO) & (quotient % 2 == 1))
    return (quotient + up.cast(pl.Int128)).alias(name)


def _at_least(amount: pl.Series, seconds: pl.Series) -> pl.Series:
    return pl.select(pl.when(amount > 0).then(pl.max_horizontal(amount, seconds * 1_000_000)).otherwise(amount)).to_series()
