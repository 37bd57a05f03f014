"""Which records describe the same call: by the provider's ids, by nesting, and by fingerprint, in that order."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from spanledger.collector.columns.ancestry import Ancestry
from spanledger.collector.columns.keys import Keys, among, differing, grouped, mixed
from spanledger.collector.count.evidence import Evidence
from spanledger.collector.recognise.fields import LONGEST_TEXT

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

#: Local servers hand out ids such as chatcmpl-123 again and again, and some write a word or noughts for none; those prove
#: nothing across traces.
_WEAK_ID = r"(?i)^(chatcmpl-|cmpl-|msg_|resp_|gen-)?([0-9]{0,4}|[0-]+|none|null|nil|unknown|undefined|default)$|^.{0,5}$"
#: No longer than this in UTF-8: a UUID of noughts behind the longest of these beginnings.
_WEAK_BYTES = 45
#: Operations that answer with no text: none is a part of one that does.
_NO_TEXT = ["embeddings", "rerank", "moderation"]


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
        # Minimum labels spread along the pairs until none changes, along chains twice as far each time.
        while True:
            low = np.minimum(self.label[left], self.label[right])
            high = np.maximum(self.label[left], self.label[right])
            if (low == high).all():
                return
            into = np.arange(len(self.label))
            np.minimum.at(into, high, low)
            while (into[into] != into).any():
                into = into[into]
            self.label = into[self.label]


def by_ids(evidence: Evidence, leaves: Flags, groups: Groups) -> None:
    """Records with one provider's response id or request id."""
    trace = evidence.narrow["trace"]
    for kind, key, rule in (
        ("response_id", "response", "same_response_id"),
        ("request_id", "request", "same_request_id"),
    ):
        said = evidence.narrow[key]
        rows, begins, sizes = grouped(said, np.flatnonzero(leaves & (said != 0)))
        if not len(rows):
            continue
        apart = np.where(trace[rows] != 0, trace[rows], mixed(rows.view(np.uint64) + np.uint64(1)))
        across = np.minimum.reduceat(apart, begins) != np.maximum.reduceat(apart, begins)
        doubtful = np.flatnonzero(np.repeat(across, sizes))
        weak = doubtful[weak_ids(evidence.take(rows[doubtful], [kind])[kind])]
        if len(weak):
            said = said.copy()
            said[rows[weak]] = mixed(said[rows[weak]], apart[weak])
            rows, begins, sizes = grouped(said, rows)
        if kind == "request_id" and len(tried := _tries(evidence, said, rows)):
            said = said.copy()
            said[tried] = mixed(
                said[tried], evidence.narrow["failed"][tried].astype(np.uint64), evidence.narrow["response"][tried]
            )
            rows, begins, sizes = grouped(said, rows)
        first = np.repeat(rows[begins], sizes)
        groups.join(first[first != rows], rows[first != rows], rule)


def weak_ids(ids: pl.Series) -> Flags:
    """Which of these ids prove nothing outside their trace."""
    length = ids.str.len_bytes().fill_null(0).to_numpy()
    # What was cut may have gone on differently.
    weak: Flags = length >= LONGEST_TEXT
    short = np.flatnonzero((length > 0) & (length <= _WEAK_BYTES))
    weak[short] = ids[pl.Series(short)].str.contains(_WEAK_ID).to_numpy()
    return weak


def _tries(evidence: Evidence, said: Keys, rows: Ints) -> Ints:
    """Of these records those of requests that one voice tells two ends of: a gateway's id stands for all that it tried."""
    narrow = evidence.narrow
    told = mixed(said[rows], narrow["voice"][rows])
    answered = np.flatnonzero(narrow["response"][rows])
    twice = differing(told, narrow["failed"][rows])
    twice[answered] |= differing(told[answered], narrow["response"][rows[answered]])
    return rows[among(said[rows], said[rows[twice]])]


def by_span(evidence: Evidence, leaves: Flags, ancestry: Ancestry, groups: Groups) -> None:
    """A log record that was written inside the very span that describes its call."""
    logs = np.flatnonzero(leaves & evidence.narrow["logs"])
    above = ancestry.up(logs)
    hit = (above >= 0) & leaves[above]
    groups.join(above[hit], logs[hit], "same_span")


@dataclass(slots=True)
class Nesting:
    """`outer[i]` is the leaf in which leaf i stands; `gone` are leaves that inner ones speak for, and `by` by which; `several`
    are the inner ones that are more than one in theirs."""

    outer: Ints
    gone: Flags
    by: Ints
    several: Ints

    def settle(self, groups: Groups) -> None:
        """Put outer calls together with what turned out to be one call inside them, told of twice."""
        if not len(self.several):
            return
        outer, label = self.outer[self.several], groups.label[self.several]
        least, most = np.full(len(self.outer), len(self.outer)), np.full(len(self.outer), -1)
        np.minimum.at(least, outer, label)
        np.maximum.at(most, outer, label)
        one = least[outer] == most[outer]
        self.gone[outer[one]] = False
        groups.join(outer[one], self.several[one], "leaf_in_leaf")


def by_nesting(evidence: Evidence, leaves: Flags, barrier: Flags, ancestry: Ancestry, groups: Groups) -> Nesting:
    """A leaf inside a leaf: the inner one is the call, unless it says nothing; several inner ones are attempts, each a call."""
    rows = evidence.height
    at = np.flatnonzero(leaves)
    outer = np.full(rows, -1, dtype=np.int64)
    outer[at] = ancestry.nearest(at, leaves, barrier)
    nesting = Nesting(outer, np.zeros(rows, dtype=bool), np.full(rows, -1, dtype=np.int64), at[:0])
    inner = np.flatnonzero(outer >= 0)
    inner = inner[groups.label[inner] != groups.label[outer[inner]]]
    aside = _aside(evidence, inner, outer[inner])
    outer[inner[aside]] = -1
    inner = inner[~aside]
    if not len(inner):
        return nesting
    narrow = evidence.narrow
    # Noughts of an attempt that failed say no more than nothing does.
    said = narrow["said"] & ~(narrow["failed"] & (narrow["input"] <= 0) & (narrow["output"] <= 0))
    started = narrow["started"]
    # What stands deeper than one level speaks for its outer leaves as well.
    speaks, errs = said.copy(), narrow["failed"] & ~said
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
    nesting.several = many
    # Failed attempts inside a leaf that has usage of its own stand beside it; without, they are what it reports.
    mute = erring[(spoken[outer[erring]] == 0) & ~said[outer[erring]]]
    alone = mute[wrong[outer[mute]] == 1]
    groups.join(outer[alone], alone, "leaf_in_leaf")
    several = mute[wrong[outer[mute]] > 1]
    nesting.gone[outer[several]] = True
    nesting.by[outer[several]] = several
    groups.join(outer[silent], silent, "leaf_in_leaf")
    return nesting


def _aside(evidence: Evidence, inner: Ints, outer: Ints) -> Flags:
    """Which inner calls do something else than those around them, as an embedding that a cache of answers asks for inside a chat.

    Who writes no operation is taken to chat, so it takes usage of its own as well to tell them apart.
    """
    narrow = evidence.narrow
    aside: Flags = narrow["said"][inner] & narrow["said"][outer] & (narrow["input"][inner] != narrow["input"][outer])
    at = np.flatnonzero(aside)
    if len(at):
        does, around = (evidence.take(rows[at], ["operation"])["operation"] for rows in (inner, outer))
        aside[at] = ((does != around) & (does.is_in(_NO_TEXT) | around.is_in(_NO_TEXT))).fill_null(False).to_numpy()
    return aside
