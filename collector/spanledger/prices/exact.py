"""Amounts that 64-bit pico-dollars cannot hold exactly: rates with more digits, seconds, and meters of `other_meters`."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

import polars as pl

from spanledger.prices.book import Cell
from spanledger.prices.meters import BY_COUNTER, CHARGED, COMPONENTS, METERS

PICO = 10**12


def fraction_cost(cell: Cell, counters: Mapping[str, float]) -> dict[str, Fraction]:
    """Pico-dollars by component, exactly; a meter without a rate adds nothing."""
    parts = dict.fromkeys(COMPONENTS, Fraction(0))
    for meter in METERS:
        rate = cell.rates.get(meter.counter)
        if not rate:
            continue
        amount = Fraction(0)
        for name, weight in CHARGED[meter.counter].items():
            value = counters.get(name)
            if value:
                amount += weight * (Fraction(str(value)) if isinstance(value, float) else value)
        if meter.counter == "audio_seconds" and amount > 0:
            amount = max(amount, Fraction(cell.least_seconds))
        if amount > 0:
            parts[meter.component] += amount * rate * PICO
    return parts


def exact_amounts(table: pl.DataFrame, cells: Sequence[Cell]) -> pl.DataFrame:
    """`table` with the parts of its `fine` rows computed as fractions, each rounded half to even.

    Their sum is the cost. What a fine row has in `other_meters` joins `lacking`, `charged` and `any`.
    """
    fine = table["fine"].arg_true()
    if not fine.len():
        return table
    columns = [m.counter for m in METERS if m.column]
    parts: dict[str, list[int]] = {f"part.{c}": [] for c in COMPONENTS}
    lacking, charged, counted = [], [], []
    for row in table[fine].select("cell", "other_meters", *columns).iter_rows(named=True):
        counters = {name: row[name] for name in columns}
        counters |= {m["key"]: m["value"] for m in row["other_meters"] or () if m["key"] in BY_COUNTER and m["value"]}
        cell = cells[row["cell"]]
        for component, amount in fraction_cost(cell, counters).items():
            parts[f"part.{component}"].append(min(round(amount), 2**62))
        known = {name for name, value in counters.items() if value and name != "requests"}
        lacking.append(", ".join(m.counter for m in METERS if m.counter in known - cell.rates.keys()))
        charged.append(bool(known & cell.rates.keys()))
        counted.append(bool(known))
    changes = {**parts, "lacking": lacking, "charged": charged, "any": counted}
    return table.with_columns(
        [table[name].clone().scatter(fine, pl.Series(values, dtype=table[name].dtype)) for name, values in changes.items()]
    )
