"""The sum of products: usage times rates in whole numbers, rounded once to the twelfth decimal."""

import numpy as np
import polars as pl
import pyarrow as pa

from spanledger.prices.meters import BY_COUNTER, COMPONENTS, Component
from spanledger.prices.tables import BIT, GRAIN, INSTEAD, PICO, PLACE, TOKENS, Flags, Tables, Wholes
from spanledger.prices.usage import Usage

#: No single entry costs a million dollars; the ledger's money ends at a hundred, and 64 bits of pico-dollars at nine.
ABSURD_USD = 1_000_000


class Amounts:
    """Pico-dollars by row: the whole and its components, whose sum it is; and what had no rate.

    Nearly all rates are whole pico-dollars for one, and so is what they come to: products of 64 bits, without rounding. Rows in
    cells with any other rate, and batches in which 64 bits might not do, are computed in grains of 128 bits.
    """

    def __init__(self, usage: Usage, tables: Tables, cells: Wholes) -> None:
        amounts = {counter: amount.to_numpy() for counter, amount in usage.charged.items()}
        used = np.zeros(len(cells), np.int64)
        most = 0  # that any row can come to
        for counter, amount in amounts.items():
            used |= np.where(amount > 0, BIT[counter], 0)
            most += int(amount.max(initial=0)) * tables.highest[PLACE[counter]]
        self.parts: dict[Component, Wholes] = {component: np.zeros(len(cells), np.int64) for component in COMPONENTS}
        self.absurd: Flags = np.zeros(len(cells), np.bool_)
        rough = tables.rough[cells] if most <= ABSURD_USD * 10**12 else np.ones(len(cells), np.bool_)
        if not rough.all():
            for counter, amount in amounts.items():
                if tables.highest[PLACE[counter]]:
                    self.parts[BY_COUNTER[counter].component] += amount * tables.picos[PLACE[counter]][cells]
        if rough.any():
            self._exactly({counter: amount[rough] for counter, amount in amounts.items()}, tables, cells, rough)
        self.cost: Wholes = sum(self.parts.values(), np.zeros(len(cells), np.int64))
        has = tables.has[cells]
        #: Sets of meters (sums of `BIT`) that were used and have no rate.
        self.missing: Wholes = used & ~has & ~BIT["requests"]  # a request is charged by few
        if tables.charged.any():
            self.missing |= tables.charged[cells] & ~(used & has)
        if self.missing.any():
            self._forgive(used, has)
        self.priced: Flags = used & has != 0
        self.inherited: Flags = used & tables.inherits[cells] != 0

    def _forgive(self, used: Wholes, has: Wholes) -> None:
        """Who charges tokens counts images for information, and who charges images counts tokens so."""
        by_tokens = used & has & TOKENS != 0
        by_others = (used & has & INSTEAD != 0) & (has & TOKENS == 0)
        self.missing &= ~np.where(by_tokens, INSTEAD, np.where(by_others, TOKENS, 0))

    def _exactly(self, amounts: dict[str, Wholes], tables: Tables, cells: Wholes, rows: Flags) -> None:
        """Fill in some rows, in grains."""
        mine = pl.Series(cells[rows])
        columns: list[pl.Series] = []
        parts: dict[Component, pl.Expr] = {"input": pl.lit(0, pl.Int128)}
        estimates: list[pl.Expr] = []
        for counter, amount in amounts.items():
            if not tables.highest[PLACE[counter]]:
                continue
            if counter == "audio_seconds":
                amount = np.where(amount > 0, np.maximum(amount, tables.least_seconds[cells[rows]] * 1_000_000), amount)
            a, r = f"a.{counter}", f"r.{counter}"
            columns += [pl.Series(a, amount), tables.grains[counter].gather(mine).alias(r)]
            product = pl.col(a).cast(pl.Int128) * pl.col(r)
            component = BY_COUNTER[counter].component
            parts[component] = parts[component] + product if component in parts else product
            estimates.append(pl.col(a).cast(pl.Float64) * pl.col(r).cast(pl.Float64))
        if not columns:
            return
        table = pl.DataFrame(columns).select(
            *[part.alias(component) for component, part in parts.items()],
            (pl.sum_horizontal(estimates) > ABSURD_USD * GRAIN).alias("absurd"),
        )
        absurd = table["absurd"].to_numpy()
        self.absurd[rows] = absurd
        for component, part in _rounded(table.drop("absurd").with_columns(pl.all() * ~pl.lit(table["absurd"]))).items():
            self.parts[component][rows] = part


def money(pico: Wholes, known: Flags | None = None) -> pl.Series:
    """Pico-dollars as the ledger's money; null where they are not known."""
    buffer = pa.allocate_buffer(16 * len(pico))
    halves = np.frombuffer(buffer, np.int64).reshape(-1, 2)
    halves[:, 0], halves[:, 1] = pico, pico >> 63
    valid = None if known is None or known.all() else pa.py_buffer(np.packbits(known, bitorder="little"))
    return pl.Series(pa.Array.from_buffers(pa.decimal128(20, 12), len(pico), [valid, buffer]))


def _rounded(parts: pl.DataFrame) -> dict[Component, Wholes]:
    """Grains as pico-dollars whose sum is the whole, rounded half to even: the largest part takes up what rounding leaves."""
    names = parts.columns
    table = parts.with_columns(pl.sum_horizontal(names).alias("cost")).select(_half_even(name) for name in [*names, "cost"])
    left = pl.col("cost") - pl.sum_horizontal(names)
    largest = pl.max_horizontal(names)
    taken = pl.lit(False)
    changes = []
    for name in names:
        mine = (pl.col(name) == largest) & ~taken
        changes.append(pl.when(mine).then(pl.col(name) + left).otherwise(pl.col(name)).cast(pl.Int64).alias(name))
        taken = taken | (pl.col(name) == largest)
    table = table.select(changes)
    return {component: table[component].to_numpy() for component in COMPONENTS if component in names}


def _half_even(name: str) -> pl.Expr:
    quotient = pl.col(name) // PICO
    rest = pl.col(name) - quotient * PICO
    up = (rest * 2 > PICO) | ((rest * 2 == PICO) & (quotient % 2 == 1))
    return (quotient + up.cast(pl.Int128)).alias(name)
