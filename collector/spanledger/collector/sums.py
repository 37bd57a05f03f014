"""Records that sum up others: spans of agents, running totals, points of metrics."""

import numpy as np
import numpy.typing as npt
import polars as pl

from spanledger.collector.ancestry import Ancestry
from spanledger.collector.dialects import DIALECTS
from spanledger.collector.grouping import RULE

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

#: Measures of which a running total is taken apart.
_TOTALS = (
    "calls",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "reasoning_tokens",
    "reported_cost_usd",
)

#: Dialects that sum over all calls of a trace, others over those below one span.
_OVER_TRACES = [dialect.name for dialect in DIALECTS if dialect.cumulative == "trace"]


def told_apart(evidence: pl.DataFrame) -> pl.DataFrame:
    """Running totals less what came before: of calls in a loop whose emitter sums them up, and of cumulative metrics."""
    if not evidence["cumulative"].any():
        return evidence
    total = pl.col("cumulative").fill_null(False)
    looped = total & (pl.col("role") == "leaf") & pl.col("said") & pl.col("parent_span_id").is_not_null()
    metered = total & (pl.col("role") == "metric")
    below = pl.when(pl.col("dialect").is_in(_OVER_TRACES)).then(pl.lit("")).otherwise("parent_span_id")
    run = (
        pl.when(looped)
        .then(pl.concat_str("trace_id", below, pl.col("model").fill_null("")))
        .when(metered)
        .then("series")
        .alias("run")
    )
    runs = evidence.select(
        pl.int_range(pl.len()).alias("place"), run, "ended", "started", "entry_id", "role", "flags", *_TOTALS
    ).filter(pl.col("run").is_not_null())  # fmt: skip
    if runs.is_empty():
        return evidence
    runs = runs.sort("run", "ended", "started", "entry_id")
    before = {name: pl.col(name).shift(1).over("run") for name in _TOTALS}
    # A total that shrinks was reset, with its process; a call that needs less than the one before was never summed up.
    grew = pl.all_horizontal((pl.col(name) >= before[name]).fill_null(True) for name in _TOTALS if name != "reported_cost_usd")
    follows = grew & pl.any_horizontal(before[name].is_not_null() for name in _TOTALS)
    runs = runs.with_columns(follows.alias("follows")).with_columns(
        *(pl.when("follows").then(pl.col(name) - before[name].fill_null(0)).otherwise(name).alias(name) for name in _TOTALS),
        pl.when(pl.col("follows") & (pl.col("role") == "leaf"))
        .then(pl.col("flags").fill_null([]).list.concat(pl.lit(["cumulative"])))
        .otherwise("flags")
        .alias("flags"),
    )
    # A series that stood still made no call.
    still = (pl.col("role") == "metric") & pl.all_horizontal(pl.col(name).fill_null(0) == 0 for name in _TOTALS)
    runs = runs.with_columns(pl.when(still).then(pl.lit("span")).otherwise("role").alias("role")).sort("place")
    changed = np.zeros(evidence.height, dtype=bool)
    changed[runs["place"].to_numpy()] = True
    index = np.where(changed, np.cumsum(changed) - 1, 0)
    return evidence.with_columns(
        runs[name].cast(evidence[name].dtype).gather(pl.Series(index)).zip_with(pl.Series(changed), evidence[name]).alias(name)
        for name in (*_TOTALS, "role", "flags")
    )


def aggregates(
    evidence: pl.DataFrame,
    aggregates: Flags,
    leaves: Flags,
    settled: Flags,
    ancestry: Ancestry,
    stands: Flags,
    by: Ints,
    rule: Ints,
) -> None:
    """Spans that sum up others stand only if nothing below them was counted, and after they have waited."""
    rows = np.flatnonzero(aggregates)
    if not len(rows):
        return
    below = np.flatnonzero(leaves)
    covered = ancestry.mark_above(below, evidence.height)
    times = evidence.select(pl.int_range(pl.len()).alias("row"), "trace_id", "started", "ended")
    # A leaf whose ancestors are not all known may belong to any aggregate of its trace around it.
    loose = below[ancestry.dangles(below)]
    around = (
        times[rows]
        .join(times[loose], on="trace_id", suffix="_leaf")
        .filter((pl.col("started_leaf") >= pl.col("started") - 1000) & (pl.col("ended_leaf") <= pl.col("ended") + 1000))
    )
    covered[around["row"].to_numpy()] = True
    # The first standing call below each, for the record of what it repeats.
    first = np.full(evidence.height, -1, dtype=np.int64)
    first[around["row"].to_numpy()] = around["row_leaf"].to_numpy()
    at = ancestry.up(below)
    for _ in range(64):
        live = at >= 0
        if not live.any():
            break
        hit = live & (first[np.maximum(at, 0)] < 0)
        first[at[hit]] = below[hit]
        at = ancestry.up(at)
    done = rows[covered[rows]]
    leaf = first[done]
    by[done] = np.where((leaf < 0) | stands[leaf], leaf, by[leaf])
    rule[done] = RULE["aggregate"]
    free = rows[~covered[rows]]
    if not len(free):
        return
    candidate = np.zeros(evidence.height, dtype=bool)
    candidate[free] = True
    nowhere = np.zeros(evidence.height, dtype=bool)
    above = ancestry.nearest(free, candidate, nowhere)
    top = free.copy()
    step = dict(zip(free.tolist(), above.tolist(), strict=True))
    for place, row in enumerate(free.tolist()):
        seen = set()
        while step.get(row, -1) >= 0 and row not in seen:
            seen.add(row)
            row = step[row]
        top[place] = row
    inner = ~np.isin(free, above)
    size = (evidence["input_tokens"].fill_null(0) + evidence["output_tokens"].fill_null(0)).to_numpy()
    parts = np.zeros(evidence.height, dtype=np.int64)
    np.add.at(parts, top[inner & (top != free)], size[free[inner & (top != free)]])
    for place, row in enumerate(free.tolist()):
        whole = size[top[place]] >= parts[top[place]]
        if (row == top[place]) if whole else bool(inner[place]):
            stands[row] = bool(settled[row])
            rule[row] = 0 if settled[row] else RULE["waits"]
        else:
            by[row] = top[place] if whole else -1
            rule[row] = RULE["aggregate"]


def metrics(
    evidence: pl.DataFrame, role: npt.NDArray[np.object_], leaves: Flags, settled: Flags, stands: Flags, by: Ints, rule: Ints
) -> None:
    """Points of metrics make calls only where their emitter sent nothing better."""
    points = np.flatnonzero(role == "metric")
    if not len(points):
        return
    better = evidence.filter(pl.Series(leaves | (role == "heard")))["emitter"].unique()
    told = evidence["emitter"][points].is_in(better.implode()).fill_null(False).to_numpy()
    counted = _latest(evidence, leaves, points, stands, by)
    # What different metrics say of one series at one moment is one record; the one that knows tokens speaks for it.
    moments = (
        evidence[points]
        .select(
            pl.Series("row", points), "series", "ended", pl.col("said").fill_null(False), pl.col("calls").fill_null(0), "entry_id"
        )
        .with_columns(
            pl.col("row")
            .sort_by(["said", "calls", "entry_id"], descending=[True, True, False])
            .first()
            .over("series", "ended")
            .alias("speaker"),
            (pl.col("said") | (pl.col("calls") > 0)).any().over("series", "ended").alias("counts"),
        )
    )
    speaker = moments["speaker"].to_numpy()
    speaks = (speaker == points) & moments["counts"].to_numpy()
    stands[points] = speaks & ~told & settled[points]
    by[points] = np.where(speaks, np.where(told, counted, by[points]), speaker)
    rule[points] = np.where(told | ~speaks, RULE["metric"], np.where(settled[points], 0, RULE["waits"]))


def _latest(evidence: pl.DataFrame, leaves: Flags, points: Ints, stands: Flags, by: Ints) -> Ints:
    """For each point, a standing call of its emitter, the one that ended last, or the record that one was heard."""
    calls = (
        evidence.select(pl.int_range(pl.len()).alias("row"), "emitter", "ended", "entry_id", "role")
        .filter(pl.Series(leaves) | (pl.col("role") == "heard"))
        .sort("ended", "entry_id", nulls_last=False)
        .unique("emitter", keep="last")
        .select("emitter", "row")
    )
    found = evidence[points].select("emitter").join(calls, on="emitter", how="left", maintain_order="left")
    leaf = found["row"].fill_null(-1).to_numpy()
    return np.where((leaf < 0) | ~leaves[leaf] | stands[leaf], leaf, by[leaf])


def of_one_moment(calls: pl.DataFrame, evidence: pl.DataFrame) -> pl.DataFrame:
    """Standing points with what the other metrics of their series say of the same moment."""
    if not (calls["role"] == "metric").any():
        return calls
    counts = [name for name in calls.columns if name.endswith("_tokens") and not name.startswith("claimed")]
    known = (
        evidence.filter(pl.col("role") == "metric")
        .group_by("series", "ended")
        .agg(*(pl.col(name).max() for name in (*counts, "calls", "reported_cost_usd")))
    )
    joined = calls.join(known, on=["series", "ended"], how="left", suffix="_all", maintain_order="left")
    return joined.with_columns(
        pl.when(pl.col("role") == "metric").then(pl.coalesce(f"{name}_all", name)).otherwise(name).alias(name)
        for name in (*counts, "calls", "reported_cost_usd")
    ).select(calls.columns)
