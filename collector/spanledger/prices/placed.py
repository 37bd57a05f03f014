"""Which cell each row falls into, by its key, its moment and its size."""

import numpy as np
import polars as pl

from spanledger.prices.cell import DAY_MINUTES
from spanledger.prices.tables import Tables, Wholes

_MINUTE = 60_000_000


def cells_of(keys: Wholes, moments: Wholes, size: Wholes, tables: Tables) -> Wholes:
    """The row of `tables` that prices each row; `moments` are microseconds since 1970, `size` input tokens."""
    found = tables.single[keys]
    several = np.flatnonzero(found < 0)
    if not len(several):
        return found
    rows = pl.DataFrame({"row": several, "key": keys[several], "at": moments[several], "size": size[several]}).with_columns(
        minute=pl.col("at") // _MINUTE % DAY_MINUTES, weekday=(pl.col("at") // (_MINUTE * DAY_MINUTES) + 3) % 7
    )
    placed = rows.join(tables.boxes, on="key").filter(
        (pl.col("at") >= pl.col("starts")) & (pl.col("at") < pl.col("ends"))
        & (pl.col("size") > pl.col("over")) & (pl.col("size") <= pl.col("upto"))
        & (pl.col("minute") >= pl.col("minute_from")) & (pl.col("minute") < pl.col("minute_to"))
        & ((pl.col("weekdays") // pl.lit(2).pow(pl.col("weekday"))) % 2 == 1)
    )  # fmt: skip
    if placed.height != rows.height:
        raise AssertionError("the cells of a key cover all time and all sizes, once")
    found[placed["row"].to_numpy()] = placed["cell"].to_numpy()
    return found
