"""The flags of entries: few distinct combinations, each built once."""

from collections.abc import Mapping

import polars as pl

from spanledger.prices.keys import Tables

FLAGS = pl.List(pl.String())


def flags_of(
    rows: pl.DataFrame, tables: Tables, cells: pl.Series, conditions: Mapping[str, pl.Series], quiet: pl.Series
) -> pl.Series:
    """The flags that each row came with, those of its cell, and those whose condition holds; `quiet` rows get none."""
    numbers = tables.flag_set.gather(cells).cast(pl.Int64)
    for condition in conditions.values():
        numbers = numbers * 2 + condition.fill_null(False).cast(pl.Int64)
    numbers = numbers * (~quiet).cast(pl.Int64)
    distinct = numbers.unique().sort()
    names = list(conditions)
    lists = []
    for number in distinct:
        own, bits = divmod(number, 2 ** len(names))
        held = [name for place, name in enumerate(reversed(names)) if bits >> place & 1]
        lists.append(list(dict.fromkeys([*tables.flag_sets[own], *reversed(held)])))
    found = pl.Series("flags", lists, FLAGS).gather(distinct.search_sorted(numbers))
    if "flags" not in rows.columns or rows["flags"].dtype == pl.Null or not rows["flags"].list.len().sum():
        return found
    both = pl.DataFrame([rows["flags"].alias("given"), found])
    return both.select(
        pl.concat_list(pl.col("given").fill_null([]), "flags").list.unique(maintain_order=True).alias("flags")
    ).to_series()
