"""Records that sum up others: spans of agents, running totals."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from spanledger.collector.columns.ancestry import Ancestry
from spanledger.collector.columns.keys import Keys, among, firsts, keys_of, mixed
from spanledger.collector.count.evidence import LEAF, METRIC, PAST, Evidence
from spanledger.collector.count.grouping import RULE
from spanledger.collector.count.nearby import ends_first
from spanledger.collector.count.side_by_side import side_by_side
from spanledger.collector.dialects import DIALECTS

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

#: Measures of which a running total is taken apart.
TOTALS = (
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
_OVER_TRACES = keys_of(pl.Series([dialect.name for dialect in DIALECTS if dialect.cumulative == "trace"], dtype=pl.String))

#: Providers whose answers end in the same words whether they ask for tools or not.
_ASK_SILENTLY = r"^gcp\.|^ollama$"


def told_apart(evidence: Evidence) -> Evidence:
    """Running totals less what came before: of calls in a loop whose emitter sums them up, and of cumulative metrics."""
    narrow = evidence.narrow
    role = narrow["role"]
    summed = np.flatnonzero(narrow["cumulative"] & ((role == METRIC) | (role == PAST) | ((role == LEAF) & narrow["said"])))
    if not len(summed):
        return evidence
    run = _runs(evidence, summed)
    summed, run = summed[run != 0], run[run != 0]
    asked, mute = _asks(evidence, summed)
    run = side_by_side(evidence, summed, run, (asked, mute))
    order = np.lexsort((narrow["entry"][summed], narrow["started"][summed], narrow["ended"][summed], run))
    summed, run, asked, mute = summed[order], run[order], asked[order], mute[order]
    begins = firsts(run)
    first = np.repeat(begins, np.diff(np.append(begins, len(run))))
    totals = _Total.of(evidence.take(summed, TOTALS), first)
    # A total that shrinks was reset, with its process; a call that needs less than the one before was never summed up.
    shrank, follows = np.zeros(len(run), dtype=bool), np.zeros(len(run), dtype=bool)
    for name, total in totals.items():
        follows |= total.has_before
        if name != "reported_cost_usd":
            shrank |= total.known & total.has_before & (total.now < total.before)
    follows &= ~shrank
    tried = np.flatnonzero(follows & (role[summed] == LEAF))
    follows[tried] = _goes_on(evidence, summed, tried, totals, (asked[tried - 1], mute[tried - 1]))
    told: dict[str, tuple[Ints, pl.Series]] = {}
    # A series that stood still made no call.
    still = role[summed] == METRIC
    for name, total in totals.items():
        less = np.flatnonzero(follows & total.known & total.has_before)
        total.now[less] -= total.before[less]
        still &= ~total.known | (total.now == 0)
        if len(less):
            told[name] = summed[less], pl.Series(total.now[less].tolist(), dtype=total.kind)
    # What came before one that was measured without it is in there already.
    past = np.maximum.reduceat(np.where(role[summed] == PAST, np.arange(len(summed)), -1), begins) if len(begins) else begins
    still |= (role[summed] == METRIC) & (np.arange(len(summed)) < np.repeat(past, np.diff(np.append(begins, len(run)))))
    if still.any():
        nothing = int(still.sum())
        told["role"] = summed[still], pl.Series(["span"]).new_from_index(0, nothing)
        told["said"] = summed[still], pl.Series([False]).new_from_index(0, nothing)
    loops = summed[follows & (role[summed] == LEAF)]
    if len(loops):
        told["flags"] = loops, evidence.raised(loops, "cumulative")
    return evidence.changed(told) if told else evidence


def _runs(evidence: Evidence, rows: Ints) -> Keys:
    """Which of these belong to one series, or to one loop of calls; 0 for those that belong to none."""
    narrow = evidence.narrow
    said = evidence.take(rows, ["series", "name", "since", "parent_span_id", "dialect", "model"])
    series, name, parent, model = (keys_of(said[each]) for each in ("series", "name", "parent_span_id", "model"))
    trace = narrow["trace"][rows]
    below = np.where(among(keys_of(said["dialect"]), _OVER_TRACES), np.uint64(0), parent)
    since = said["since"].fill_null(0).cast(pl.UInt64).to_numpy()
    metered = np.where(series != 0, mixed(series, name, since), np.uint64(0))
    looped = np.where((trace != 0) & (parent != 0), mixed(trace, below, model), np.uint64(0))
    return np.where(narrow["role"][rows] == LEAF, looped, metered)


def _goes_on(evidence: Evidence, rows: Ints, tried: Ints, totals: "dict[str, _Total]", before_asks: tuple[Flags, Flags]) -> Flags:
    """Which of the tried calls among these rows go on with the loop of the call before them: below one span there may be others.

    That one has asked for tools and ended before, and whatever it read is read again. Some providers do not say that they ask.
    """
    narrow = evidence.narrow
    asked, mute = before_asks
    read = totals.get("input_tokens")
    grown = np.ones(len(tried), dtype=np.int64) if read is None else read.now[tried] - read.before[tried]
    before = np.zeros(len(tried), dtype=np.int64) if read is None else (read.now - read.before * read.has_before)[tried - 1]
    again = asked | (mute & (grown >= before))
    goes_on = (grown > 0) & again & (narrow["ended"][rows[tried - 1]] <= narrow["started"][rows[tried]] + 1_000)
    over_traces = among(keys_of(evidence.take(rows[tried], ["dialect"])["dialect"]), _OVER_TRACES)
    found: Flags = over_traces | goes_on
    return found


def _asks(evidence: Evidence, rows: Ints) -> tuple[Flags, Flags]:
    """Which of these calls asked for tools, and which may have without saying so."""
    said = evidence.take(rows, ["finish_reason", "provider"])
    asked = said["finish_reason"].str.to_lowercase().str.contains("tool|function").fill_null(False)
    mute = said["finish_reason"].is_null() | said["provider"].str.contains(_ASK_SILENTLY).fill_null(False)
    return asked.to_numpy(), mute.to_numpy()


@dataclass(slots=True)
class _Total:
    """One measure of records in the order of their runs, and the last that was known of it before each in its run."""

    kind: pl.DataType
    now: npt.NDArray[Any]
    known: Flags
    before: npt.NDArray[Any]
    has_before: Flags

    @classmethod
    def of(cls, said: pl.DataFrame, first: Ints) -> "dict[str, _Total]":
        """By name, those that any record knows; `first` is where each record's run begins."""
        known, now = said.select(pl.all().is_not_null()), said.fill_null(0)
        found = {}
        for name, kind in said.schema.items():
            here = known[name].to_numpy()
            if here.any():
                last = np.maximum.accumulate(np.where(here, np.arange(len(here)), -1))
                earlier = np.concatenate([[-1], last[:-1]])
                # No whole number of NumPy's holds all amounts of money.
                values = np.array(now[name].to_list(), dtype=object) if kind.is_decimal() else now[name].to_numpy().copy()
                found[name] = cls(kind, values, here, values[np.maximum(earlier, 0)], earlier >= first)
        return found


def aggregates(
    evidence: Evidence,
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
    trace, started, ended = (evidence.narrow[name] for name in ("trace", "started", "ended"))
    below = np.flatnonzero(leaves & among(trace, trace[rows]))
    covered = ancestry.mark_above(below, evidence.height)
    # A leaf whose ancestors are not all known may belong to any aggregate of its trace around it.
    loose = below[ancestry.dangles(below)]
    loose = loose[trace[loose] != 0]
    inside = ends_first(trace[loose], started[loose], ended[loose], trace[rows], started[rows] - 1000)
    around = np.flatnonzero(inside >= 0)
    around = around[ended[loose[inside[around]]] <= ended[rows[around]] + 1000]
    row, leaf = rows[around], loose[inside[around]]
    covered[row] = True
    # The first standing call below each, for the record of what it repeats.
    first = np.full(evidence.height, -1, dtype=np.int64)
    first[row] = leaf
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
    top = _outermost(free, above, ancestry, evidence.height)
    inner = ~np.isin(free, above)
    size = np.maximum(evidence.narrow["input"], 0) + np.maximum(evidence.narrow["output"], 0)
    parts = np.zeros(evidence.height, dtype=np.int64)
    np.add.at(parts, top[inner & (top != free)], size[free[inner & (top != free)]])
    whole = size[top] >= parts[top]
    alone = np.where(whole, free == top, inner)
    stands[free[alone]] = settled[free[alone]]
    rule[free[alone]] = np.where(settled[free[alone]], 0, RULE["waits"])
    by[free[~alone]] = np.where(whole, top, -1)[~alone]
    rule[free[~alone]] = RULE["aggregate"]


def _outermost(rows: Ints, above: Ints, ancestry: Ancestry, height: int) -> Ints:
    """For each of these rows the last one up that is reached by what is `above` each; who stands above himself is the last."""
    step = np.arange(height)
    step[rows] = np.where(above >= 0, above, rows)
    looped = ancestry.looped()
    step[looped] = looped
    # Twice as far each time.
    for _ in range(len(rows).bit_length()):
        step = step[step]
    return step[rows]
