"""Which records describe the same call: by the provider's ids, by nesting, and by fingerprint, in that order."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from spanledger.collector import names
from spanledger.collector.ancestry import Ancestry
from spanledger.collector.evidence import LEAF, Evidence, mixed, repeated

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


def by_ids(evidence: Evidence, leaves: Flags, groups: Groups) -> None:
    """Records with one provider's response id or request id."""
    for kind, key, rule in (
        ("response_id", "response", "same_response_id"),
        ("request_id", "request", "same_request_id"),
    ):
        rows = np.flatnonzero(leaves & (evidence.narrow[key] != 0))
        rows = rows[repeated(evidence.narrow[key][rows])]
        if not len(rows):
            continue
        weak = evidence.take(rows, [kind])[kind].str.contains(_WEAK_ID).to_numpy()
        trace = evidence.narrow["trace"][rows]
        apart = np.where(trace != 0, trace, mixed(rows.view(np.uint64) + np.uint64(1)))
        said = mixed(evidence.narrow[key][rows], np.where(weak, apart, np.uint64(0)))
        _, first, inverse = np.unique(said, return_index=True, return_inverse=True)
        firsts = rows[first[inverse]]
        groups.join(firsts[firsts != rows], rows[firsts != rows], rule)


def by_span(evidence: Evidence, leaves: Flags, ancestry: Ancestry, groups: Groups) -> None:
    """A log record that was written inside the very span that describes its call."""
    logs = np.flatnonzero(leaves & evidence.narrow["logs"])
    above = ancestry.up(logs)
    hit = (above >= 0) & leaves[above]
    groups.join(above[hit], logs[hit], "same_span")


@dataclass(slots=True)
class Nesting:
    """`outer[i]` is the leaf in which leaf i stands; `gone` are leaves that inner ones speak for, and `by` by which."""

    outer: Ints
    gone: Flags
    by: Ints


def by_nesting(evidence: Evidence, leaves: Flags, barrier: Flags, ancestry: Ancestry, groups: Groups) -> Nesting:
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
    said, started = evidence.narrow["said"], evidence.narrow["started"]
    # What stands deeper than one level speaks for its outer leaves as well.
    speaks, errs = said.copy(), evidence.narrow["failed"] & ~said
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


def buckets(started: Ints, ended: Ints) -> tuple[Ints, Ints]:
    """(place, bucket) for every bucket of time that each interval touches; long ones only at their ends."""
    first = (started - SLACK_MICROS) // BUCKET_MICROS
    last = (ended + SLACK_MICROS) // BUCKET_MICROS
    count = last - first + 1
    long = count > _MOST_BUCKETS
    count = np.where(long, 2, np.maximum(count, 0))
    place = np.repeat(np.arange(len(started)), count)
    nth = np.arange(len(place)) - np.repeat(np.cumsum(count) - count, count)
    return place, np.where(long[place] & (nth == 1), last[place], first[place] + nth)


def by_fingerprint(evidence: Evidence, standing: Flags, groups: Groups) -> None:
    """Equal usage, compatible model, one interval inside the other, same emitter, another scope or signal, one to one."""
    narrow = evidence.narrow
    rows = np.flatnonzero(
        standing & (narrow["emitter"] != 0) & ((narrow["input"] >= 0) | (narrow["output"] >= 0) | narrow["failed"])
    )
    prints = mixed(narrow["emitter"][rows], narrow["input"][rows].view(np.uint64))
    rows = rows[_differing(prints, narrow["voice"][rows], groups.label[rows])]
    left, right = _pairs(evidence, rows)
    for _ in range(3):
        apart = groups.label[left] != groups.label[right]
        left, right = left[apart], right[apart]
        if not len(left):
            return
        pairs = _of_other_voices(left, right, evidence, groups)
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


def _differing(keys: npt.NDArray[np.uint64], voices: npt.NDArray[np.uint64], labels: Ints) -> Flags:
    """Which rows share their key with a row of another voice and another label, at least as far as the whole key goes."""
    order = np.argsort(keys)
    ordered = keys[order]
    begins = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(keys) else order
    differ = np.zeros(len(keys), dtype=bool)
    if len(begins):
        several = np.ones(len(begins), dtype=bool)
        for values in (voices[order], labels[order]):
            several &= np.minimum.reduceat(values, begins) != np.maximum.reduceat(values, begins)
        differ[order] = np.repeat(several, np.diff(np.append(begins, len(keys))))
    return differ


def _pairs(evidence: Evidence, rows: Ints) -> tuple[Ints, Ints]:
    """Pairs of these rows that agree in all but what the records say that were put with them already."""
    narrow = evidence.narrow
    start, end, voice, response = (narrow[name] for name in ("started", "ended", "voice", "response"))
    at, bucket = buckets(start[rows], end[rows])
    prints = mixed(narrow["emitter"][rows], narrow["input"][rows].view(np.uint64))
    keys = mixed(prints[at], bucket.view(np.uint64))
    shared = _differing(keys, voice[rows[at]], at)
    left, right = _of_one_key(at[shared], keys[shared])
    left, right = rows[left], rows[right]
    inside = (start[left] >= start[right] - SLACK_MICROS) & (end[left] <= end[right] + SLACK_MICROS)
    around = (start[right] >= start[left] - SLACK_MICROS) & (end[right] <= end[left] + SLACK_MICROS)
    fit = (voice[left] != voice[right]) & (inside | around) & (narrow["failed"][left] == narrow["failed"][right])
    fit &= (response[left] == response[right]) | (response[left] == 0) | (response[right] == 0)
    fit &= (narrow["input"][left] == narrow["input"][right]) & (narrow["emitter"][left] == narrow["emitter"][right])
    left, right = left[fit], right[fit]
    fit = _alike(evidence, left, right)
    return left[fit], right[fit]


def _of_one_key(at: Ints, keys: npt.NDArray[np.uint64]) -> tuple[Ints, Ints]:
    """All pairs of places that share a key, each once, the lower one first."""
    if not len(at):
        return at, at
    spread = pl.DataFrame({"at": at, "key": keys})
    pairs = spread.join(spread, on="key", how="inner").filter(pl.col("at") < pl.col("at_right"))
    pairs = pairs[["at", "at_right"]].unique()
    return pairs["at"].to_numpy(), pairs["at_right"].to_numpy()


def _alike(evidence: Evidence, left: Ints, right: Ints) -> Flags:
    """Which pairs agree in output, with or without the reasoning that one of them loses, and in model."""
    if not len(left):
        return np.zeros(0, dtype=bool)
    rows, inverse = np.unique(np.concatenate([left, right]), return_inverse=True)
    said = evidence.take(rows, ["model", "output_tokens", "reasoning_tokens", "flags"])
    model = names.mapped(said["model"], names.bare_model).fill_null("")
    output = said["output_tokens"].fill_null(-1).to_numpy()
    bare = said.select((pl.col("output_tokens") - pl.col("reasoning_tokens").fill_null(0)).fill_null(-1)).to_series().to_numpy()
    lost = said["flags"].list.contains("reasoning_lost").fill_null(False).to_numpy()
    one, other = inverse[: len(left)], inverse[len(left) :]
    counts = (
        _equal(output[one], output[other])
        | (lost[one] & _equal(output[one], bare[other]))
        | (lost[other] & _equal(bare[one], output[other]))
    )
    named = pl.DataFrame({"one": model.gather(pl.Series(one)), "other": model.gather(pl.Series(other))})
    begins = pl.col("one").str.starts_with(pl.col("other")) | pl.col("other").str.starts_with(pl.col("one"))
    alike: Flags = counts & named.select(begins).to_series().to_numpy()
    return alike


def _equal(left: Ints, right: Ints) -> Flags:
    near: Flags = np.abs(left - right) <= OUTPUT_TOLERANCE
    return near


def _of_other_voices(left: Ints, right: Ints, evidence: Evidence, groups: Groups) -> pl.DataFrame:
    """Pairs of calls that no scope and signal describes both, and that do not contradict each other's response ids, with how
    far they are apart in time."""
    narrow, label = evidence.narrow, groups.label
    start, end = narrow["started"], narrow["ended"]
    pairs = pl.DataFrame(
        {
            "left": left, "right": right, "left_label": label[left], "right_label": label[right],
            "apart": np.abs(start[left] - start[right]) + np.abs(end[left] - end[right]),
        }
    )  # fmt: skip
    concerned = np.zeros(evidence.height, dtype=bool)
    concerned[label[left]] = concerned[label[right]] = True
    rows = np.flatnonzero(concerned[label] & (narrow["role"] == LEAF))
    members = pl.DataFrame({"label": label[rows], "voice": narrow["voice"][rows], "response": narrow["response"][rows]})
    voices = members.group_by("label").agg(pl.col("voice").unique(), (pl.col("response") != 0).any().alias("named"))
    both = pairs.join(voices, left_on="left_label", right_on="label").join(
        voices, left_on="right_label", right_on="label", suffix="_right"
    )
    return both.filter(
        pl.col("voice").list.set_intersection("voice_right").list.len() == 0, ~pl.col("named") | ~pl.col("named_right")
    ).select("left", "right", "left_label", "right_label", "apart")
