"""Which records describe the same call: by the provider's ids, by nesting, and by fingerprint, in that order."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from spanledger.collector import names
from spanledger.collector.ancestry import Ancestry

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

#: Clocks and callbacks of two instrumentations of one call differ by no more than this.
SLACK_MICROS = 100_000
#: Emitters that add up a stream's counts differ by a token or two.
OUTPUT_TOLERANCE = 2
#: Local servers hand out ids such as chatcmpl-123 again and again; those prove nothing across traces.
_WEAK_ID = r"^(chatcmpl-|cmpl-|msg_|resp_|gen-)?[0-9]{0,4}$|^.{0,5}$"
#: Width of the buckets in which fingerprints are looked up.
BUCKET_MICROS = 4_000_000
_MOST_BUCKETS = 64


#: The rules by which a record is taken for a repetition of another, or for no call; 0 is none.
RULES = (
    "",
    "same_response_id",
    "same_request_id",
    "same_span",
    "leaf_in_leaf",
    "fingerprint",
    "repeat",
    "never_billed",
    "aggregate",
    "metric",
    "waits",
)
RULE = {name: code for code, name in enumerate(RULES)}


@dataclass(slots=True)
class Groups:
    """`label[i]` names the call that row i describes; `rule[i]` by which of `RULES` it came to others."""

    label: Ints
    rule: Ints

    @classmethod
    def of(cls, rows: int) -> "Groups":
        """Every row a call of its own."""
        return cls(np.arange(rows), np.zeros(rows, dtype=np.int64))

    def join(self, left: Ints, right: Ints, rule: str) -> None:
        """Put the calls of two columns of rows together, pair by pair."""
        if not len(left):
            return
        both = np.concatenate([left, right])
        first = both[self.rule[both] == 0]
        self.rule[first] = RULE[rule]
        # Minimum labels spread along the pairs until none changes; chains are short.
        while True:
            low = np.minimum(self.label[left], self.label[right])
            high = np.maximum(self.label[left], self.label[right])
            if (low == high).all():
                return
            into = np.arange(len(self.label))
            np.minimum.at(into, high, low)
            self.label = into[self.label]


def by_ids(evidence: pl.DataFrame, leaves: Flags, groups: Groups) -> None:
    """Records with one provider's response id or request id."""
    for kind, key, rule in (
        ("response_id", "response_key", "same_response_id"),
        ("request_id", "request_key", "same_request_id"),
    ):
        keys = evidence[key].to_numpy()
        rows = np.flatnonzero(leaves & (keys != 0))
        _, inverse, counts = np.unique(keys[rows], return_inverse=True, return_counts=True)
        rows = rows[counts[inverse] > 1]
        if not len(rows):
            continue
        shared = evidence[rows].select(
            pl.Series("row", rows),
            pl.col(kind).alias("id"),
            pl.when(pl.col(kind).str.contains(_WEAK_ID))
            .then(pl.coalesce("trace_id", pl.Series("row", rows).cast(pl.String)))
            .otherwise(pl.lit(""))
            .alias("within"),
        )
        firsts = shared.with_columns(pl.col("row").min().over("id", "within").alias("first")).filter(
            pl.col("first") != pl.col("row")
        )
        groups.join(firsts["first"].to_numpy(), firsts["row"].to_numpy(), rule)


def by_span(evidence: pl.DataFrame, leaves: Flags, ancestry: Ancestry, groups: Groups) -> None:
    """A log record that was written inside the very span that describes its call."""
    logs = np.flatnonzero(leaves & (evidence["signal"] == "logs").fill_null(False).to_numpy())
    above = ancestry.up(logs)
    hit = (above >= 0) & leaves[above]
    groups.join(above[hit], logs[hit], "same_span")


@dataclass(slots=True)
class Nesting:
    """`outer[i]` is the leaf in which leaf i stands; `gone` are leaves that inner ones speak for, and `by` by which."""

    outer: Ints
    gone: Flags
    by: Ints


def by_nesting(evidence: pl.DataFrame, leaves: Flags, barrier: Flags, ancestry: Ancestry, groups: Groups) -> Nesting:
    """A leaf inside a leaf: the inner one is the call, unless it says nothing; several inner ones are attempts, each a call."""
    rows = evidence.height
    at = np.flatnonzero(leaves)
    outer = np.full(rows, -1, dtype=np.int64)
    outer[at] = ancestry.nearest(at, leaves, barrier)
    nesting = Nesting(outer, np.zeros(rows, dtype=bool), np.full(rows, -1, dtype=np.int64))
    inner = np.flatnonzero(outer >= 0)
    inner = inner[groups.label[inner] != groups.label[outer[inner]]]
    if not len(inner):
        return nesting
    said = evidence["said"].fill_null(False).to_numpy()
    failed = (evidence["outcome"] == "error").fill_null(False).to_numpy()
    started = evidence["started"].fill_null(0).to_numpy()
    # What stands deeper than one level speaks for its outer leaves as well.
    speaks, errs = said.copy(), failed & ~said
    for _ in range(8):
        before = speaks.sum()
        np.logical_or.at(speaks, outer[inner], speaks[inner])
        if speaks.sum() == before:
            break
    order = inner[np.lexsort((inner, started[inner]))]
    counted = order[speaks[order]]
    spoken = np.zeros(rows, dtype=np.int64)
    np.add.at(spoken, outer[counted], 1)
    erring = order[errs[order] & ~speaks[order]]
    wrong = np.zeros(rows, dtype=np.int64)
    np.add.at(wrong, outer[erring], 1)
    silent = order[~errs[order] & ~speaks[order]]

    one = counted[spoken[outer[counted]] == 1]
    groups.join(outer[one], one, "leaf_in_leaf")
    many = counted[spoken[outer[counted]] > 1]
    nesting.gone[outer[many]] = True
    nesting.by[outer[many]] = many
    # Failed attempts inside a leaf that has usage of its own stand beside it; without, they are what it reports.
    mute = erring[(spoken[outer[erring]] == 0) & ~said[outer[erring]]]
    alone = mute[wrong[outer[mute]] == 1]
    groups.join(outer[alone], alone, "leaf_in_leaf")
    several = mute[wrong[outer[mute]] > 1]
    nesting.gone[outer[several]] = True
    nesting.by[outer[several]] = several
    groups.join(outer[silent], silent, "leaf_in_leaf")
    return nesting


def fingerprints(evidence: pl.DataFrame) -> pl.DataFrame:
    """(row, bucket) for every bucket of time that each row's interval touches; long ones only at their ends."""
    slack = SLACK_MICROS
    frame = evidence.select(
        "row",
        ((pl.col("started") - slack) // BUCKET_MICROS).alias("first"),
        ((pl.col("ended") + slack) // BUCKET_MICROS).alias("last"),
    )
    short = (
        frame.filter(pl.col("last") - pl.col("first") < _MOST_BUCKETS)
        .with_columns(pl.int_ranges("first", pl.col("last") + 1).alias("bucket"))
        .explode("bucket")
        .select("row", "bucket")
    )
    long = frame.filter(pl.col("last") - pl.col("first") >= _MOST_BUCKETS)
    ends = [long.select("row", pl.col(end).alias("bucket")) for end in ("first", "last")]
    return pl.concat([short, *ends])


def by_fingerprint(evidence: pl.DataFrame, standing: Flags, groups: Groups) -> None:
    """Equal usage, compatible model, one interval inside the other, same emitter, another scope or signal, one to one."""
    for _ in range(3):
        pairs = _pairs(evidence, standing, groups)
        if not pairs.height:
            return
        # The closest pair of both its calls is taken; what is left is looked at again.
        ranked = pairs.sort("apart", "left", "right").with_row_index("rank")
        closest = (
            pl.concat([ranked.select("rank", pl.col(side).alias("label")) for side in ("left_label", "right_label")])
            .group_by("label")
            .agg(pl.col("rank").min())
            .group_by("rank")
            .len()
            .filter(pl.col("len") == 2)
        )
        taken = ranked.join(closest, on="rank", how="semi")
        groups.join(taken["left"].to_numpy(), taken["right"].to_numpy(), "fingerprint")


def voice() -> pl.Expr:
    """Who speaks: one instrumentation in one signal says a call once; log events of different names may say it twice."""
    said = pl.when(pl.col("signal") == "logs").then(pl.col("name").fill_null("")).otherwise(pl.lit(""))
    return pl.concat_str([pl.col("signal"), pl.col("scope_name").fill_null(""), said], separator="/").alias("voice")


def _pairs(evidence: pl.DataFrame, standing: Flags, groups: Groups) -> pl.DataFrame:
    nothing = pl.DataFrame(schema={"left": pl.Int64})
    if evidence.select(voice().filter(pl.Series(standing)).n_unique()).item() < 2:
        return nothing
    candidates = (
        evidence.select(
            pl.int_range(pl.len()).alias("row"),
            pl.Series("label", groups.label),
            "emitter", "scope_name", "signal", "started", "ended", "response_id", "model",
            pl.col("input_tokens").fill_null(-1).alias("input"),
            pl.col("output_tokens").fill_null(-1).alias("output"),
            (pl.col("outcome") == "error").alias("failed"),
            (pl.col("output_tokens") - pl.col("reasoning_tokens").fill_null(0)).fill_null(-1).alias("bare"),
            pl.col("flags").list.contains("reasoning_lost").fill_null(False).alias("lost"),
            voice(),
        )
        .filter(pl.Series(standing))
        .filter((pl.col("input") >= 0) | (pl.col("output") >= 0) | pl.col("failed"))
    )  # fmt: skip
    by = ["emitter", "input"]
    candidates = candidates.filter(pl.col("voice").n_unique().over(by) > 1)
    if candidates.height < 2:
        return nothing
    candidates = candidates.with_columns(names.mapped(candidates["model"], names.bare_model).alias("model"))
    buckets = fingerprints(candidates)
    spread = candidates.join(buckets, on="row", how="inner")
    right = spread.rename({name: f"right_{name}" for name in spread.columns if name not in (*by, "bucket")})
    pairs = spread.join(right, on=[*by, "bucket"], how="inner").filter(
        (pl.col("row") < pl.col("right_row"))
        & (pl.col("label") != pl.col("right_label"))
        & (pl.col("voice") != pl.col("right_voice"))
    )
    inside = (pl.col("started") >= pl.col("right_started") - SLACK_MICROS) & (
        pl.col("ended") <= pl.col("right_ended") + SLACK_MICROS
    )
    around = (pl.col("right_started") >= pl.col("started") - SLACK_MICROS) & (
        pl.col("right_ended") <= pl.col("ended") + SLACK_MICROS
    )
    one, other = pl.col("model").fill_null(""), pl.col("right_model").fill_null("")
    pairs = pairs.filter(
        inside | around,
        _equal("output", "right_output")
        | (pl.col("lost") & _equal("output", "right_bare"))
        | (pl.col("right_lost") & _equal("bare", "right_output")),
        pl.col("failed") == pl.col("right_failed"),
        one.str.starts_with(other) | other.str.starts_with(one),
        (pl.col("response_id") == pl.col("right_response_id")).fill_null(True),
    ).unique(["row", "right_row"])
    if not pairs.height:
        return nothing
    apart = (pl.col("started") - pl.col("right_started")).abs() + (pl.col("ended") - pl.col("right_ended")).abs()
    pairs = pairs.select(
        pl.col("row").alias("left"),
        pl.col("right_row").alias("right"),
        pl.col("label").alias("left_label"),
        "right_label",
        apart.alias("apart"),
    )
    return _of_other_voices(pairs, evidence, groups)


def _equal(left: str, right: str) -> pl.Expr:
    return (pl.col(left) - pl.col(right)).abs() <= OUTPUT_TOLERANCE


def _of_other_voices(pairs: pl.DataFrame, evidence: pl.DataFrame, groups: Groups) -> pl.DataFrame:
    """Pairs of calls that no scope and signal describes both, and that do not contradict each other's response ids."""
    members = evidence.select(
        pl.Series("label", groups.label),
        voice(),
        "response_id",
        "role",
    ).filter(pl.col("role") == "leaf")
    voices = members.group_by("label").agg(pl.col("voice").unique(), pl.col("response_id").drop_nulls().unique())
    both = pairs.join(voices, left_on="left_label", right_on="label").join(
        voices, left_on="right_label", right_on="label", suffix="_right"
    )
    return both.filter(
        pl.col("voice").list.set_intersection("voice_right").list.len() == 0,
        (pl.col("response_id").list.len() == 0) | (pl.col("response_id_right").list.len() == 0),
    ).select("left", "right", "left_label", "right_label", "apart")
