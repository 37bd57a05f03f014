"""Points of metrics beside what spans and logs tell: which of them stand, and what those of one moment say together."""

import numpy as np
import numpy.typing as npt
import polars as pl

from spanledger.collector.columns.keys import among
from spanledger.collector.count.evidence import HEARD, METRIC, PAST, Evidence
from spanledger.collector.count.fingerprint import SLACK_MICROS
from spanledger.collector.count.grouping import RULE
from spanledger.collector.count.sums import TOTALS

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

#: What a metric does not know, and which of the others of its moment may say it.
_DISPROVED = {
    "calls_unknown": ["calls"],
    "usage_unknown": ["input_tokens", "output_tokens"],
    "detail_lost": ["cache_read_tokens", "cache_write_tokens"],
}


def metrics(evidence: Evidence, leaves: Flags, settled: Flags, stands: Flags, by: Ints, rule: Ints) -> None:
    """Points of metrics make calls only where their emitter sent nothing better."""
    role, emitter = evidence.narrow["role"], evidence.narrow["emitter"]
    points = np.flatnonzero(role == METRIC)
    if not len(points):
        return
    better = emitter[(leaves | (role == HEARD)) & (emitter != 0)]
    told = among(emitter[points], better)
    counted = _latest(evidence, leaves, points, stands, by)
    moments = _moments(evidence, np.flatnonzero((role == METRIC) | (role == PAST)))
    moments = moments.filter(pl.Series(role[moments["row"].to_numpy()] == METRIC))
    speaker = moments["speaker"].to_numpy()
    speaks = (speaker == points) & moments["counts"].to_numpy()
    stands[points] = speaks & ~told & settled[points]
    by[points] = np.where(speaks, np.where(told, counted, by[points]), speaker)
    rule[points] = np.where(told | ~speaks, RULE["metric"], np.where(settled[points], 0, RULE["waits"]))


def _moments(evidence: Evidence, points: Ints) -> pl.DataFrame:
    """Of these points `row`, `moment`, the `speaker` of all that is said of that moment, and whether that `counts` a call.

    What different metrics say of one series at one moment is one record; the one that knows tokens speaks for it. An exporter
    asks one metric after another, and some SDKs look at the clock for each; what one metric says twice is of two moments.
    """
    said = evidence.take(points, ["series", "name", "ended", "said", "calls", "entry_id"])
    said = said.with_columns(pl.Series("row", points), pl.col("said").fill_null(False), pl.col("calls").fill_null(0))
    ordered = said.sort("series", "ended", "row")
    begins = (pl.col("series") != pl.col("series").shift()) | (pl.col("ended") - pl.col("ended").shift() > SLACK_MICROS)
    speaks = pl.col("row").sort_by(["said", "calls", "entry_id"], descending=[True, True, False]).first()
    return (
        ordered.with_columns(begins.fill_null(True).cum_sum().alias("near"))
        .with_columns(pl.col("ended").rank("dense").over("near", "name").alias("nth"))
        .with_columns(pl.struct("near", "nth").rank("dense").alias("moment"))
        .with_columns(
            speaks.over("moment").alias("speaker"),
            (pl.col("said") | (pl.col("calls") > 0)).any().over("moment").alias("counts"),
        )
        .select("row", "moment", "speaker", "counts")
        .sort("row")
    )


def _latest(evidence: Evidence, leaves: Flags, points: Ints, stands: Flags, by: Ints) -> Ints:
    """For each point, a standing call of its emitter, the one that ended last, or the record that one was heard."""
    rows = np.flatnonzero(leaves | (evidence.narrow["role"] == HEARD))
    calls = (
        evidence.take(rows, ["emitter", "ended", "entry_id"])
        .with_columns(pl.Series("row", rows))
        .sort("ended", "entry_id", nulls_last=False)
        .unique("emitter", keep="last")
        .select("emitter", "row")
    )
    found = evidence.take(points, ["emitter"]).join(calls, on="emitter", how="left", maintain_order="left")
    leaf = found["row"].fill_null(-1).to_numpy()
    return np.where((leaf < 0) | ~leaves[leaf] | stands[leaf], leaf, by[leaf])


def of_one_moment(evidence: Evidence) -> Evidence:
    """The records, of which the points that speak for a moment say what the other points of it say besides."""
    role = evidence.narrow["role"]
    points = np.flatnonzero((role == METRIC) | (role == PAST))
    if len(points) < 2:
        return evidence
    moments = _moments(evidence, points).with_columns(evidence.take(points, [*TOTALS, "flags"]).get_columns())
    moments = moments.filter(pl.len().over("moment") > 1)
    if moments.is_empty():
        return evidence
    raised = pl.col("flags").explode().drop_nulls().unique().sort()
    whole = moments.group_by("speaker").agg(raised, *(pl.col(name).max() for name in TOTALS))
    told: dict[str, tuple[Ints, pl.Series]] = {}
    for name in TOTALS:
        known = whole.filter(pl.col(name).is_not_null())
        if known.height:
            told[name] = known["speaker"].to_numpy(), known[name]
    for flag, names in _DISPROVED.items():
        others = pl.col("flags").list.eval(pl.element().filter(pl.element() != flag))
        doubted = pl.all_horizontal(pl.col(names).is_null())
        whole = whole.with_columns(pl.when(doubted).then("flags").otherwise(others).alias("flags"))
    told["flags"] = whole["speaker"].to_numpy(), whole["flags"]
    return evidence.changed(told)
