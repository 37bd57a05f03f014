"""The flags of entries: few distinct combinations, each built once."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from spanledger.prices.tables import Flags, Tables, Wholes

FLAGS = pl.List(pl.String())


def flags_of(
    rows: pl.DataFrame,
    tables: Tables,
    cells: Wholes,
    conditions: Mapping[str, Flags],
    quiet: Flags,
) -> pl.Series:
    """The flags that each row came with, those of its cell, and those whose condition holds; `quiet` rows get none."""
    numbers = tables.flag_set[cells] << len(conditions)
    for place, held in enumerate(conditions.values()):
        if held.any():
            numbers |= np.where(held, 1 << place, 0)
    if quiet.any():
        numbers[quiet] = 0
    distinct = np.flatnonzero(np.bincount(numbers, minlength=1))
    lists = []
    for number in distinct.tolist():
        held_here = [name for place, name in enumerate(conditions) if number >> place & 1]
        lists.append(list(dict.fromkeys([*tables.flag_sets[number >> len(conditions)], *held_here])))
    found = pl.Series("flags", lists, FLAGS).gather(pl.Series(np.searchsorted(distinct, numbers)))
    if "flags" not in rows.columns or rows["flags"].dtype == pl.Null or not rows["flags"].list.len().sum():
        return found
    both = pl.DataFrame([rows["flags"].alias("given"), found])
    return both.select(
        pl.concat_list(pl.col("given").fill_null([]), "flags").list.unique(maintain_order=True).alias("flags")
    ).to_series()
