"""What a set of evidence means: which records stand as calls, and what the others repeat, by which rule.

A pure function of the set. Nothing here depends on the order in which the records came, so a ledger brought into line
with it is right after any order, delay or re-delivery.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spanledger.collector.columns.ancestry import PARENTS_CYCLE, Ancestry
from spanledger.collector.columns.keys import among, differing, firsts, mixed, repeated
from spanledger.collector.count.attempts import number_attempts
from spanledger.collector.count.evidence import (
    AGENT,
    LEAF,
    LINK,
    METRIC,
    NEVER,
    REPEAT,
    SPAN,
    TOOL,
    Evidence,
)  # fmt: skip
from spanledger.collector.count.fingerprint import by_fingerprint
from spanledger.collector.count.grouping import RULE, Groups, by_ids, by_nesting, by_span
from spanledger.collector.count.merging import merged
from spanledger.collector.count.metered import metrics, of_one_moment
from spanledger.collector.count.nearby import beside
from spanledger.collector.count.sums import aggregates, told_apart
from spanledger.collector.count.told import Told
from spanledger.collector.dialects.fields import WHO

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

#: If one of these changes after a call was posted, it is reversed and posted anew; the rest is not worth two entries.
CONTENT = (
    "provider", "model", "operation", "service_tier", "region", *WHO, "outcome", "hold_id", "reported_cost_usd",
    "input_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens",
    "output_tokens", "reasoning_tokens", "input_audio_tokens", "output_audio_tokens", "granularity", "calls",
    "attempt", "first_attempt",
)  # fmt: skip


@dataclass(slots=True)
class Verdicts:
    """For each row of the evidence: its call (`label`), whether it `stands` for it, the `rule` by which it does not, and which
    row stands for it (`by`, -1 for none). `calls` are those of the standing rows with all that is known of them, of which
    `plain[row]` says that it is no more than what the record itself says; `evidence` is what was given, with running totals
    told apart."""

    label: Ints
    stands: Flags
    rule: Ints
    by: Ints
    plain: Flags
    calls: Told
    evidence: Evidence


def resolve(evidence: Evidence, *, settled: Flags, fingerprint: bool = True) -> Verdicts:
    """`settled` says of each row whether it has waited long enough to be taken as all there is about its call."""
    evidence = of_one_moment(told_apart(evidence))
    rows = evidence.height
    leaves = evidence.narrow["role"] == LEAF
    # A call with which nothing shares a trace, an id or a voice stands for itself; the rules are for the rest.
    place = np.flatnonzero(_joined(evidence, leaves, fingerprint=fingerprint))
    label, began = np.arange(rows), evidence.narrow["started"]
    stands, rule, by = leaves.copy(), np.zeros(rows, dtype=np.int64), np.where(leaves, label, -1)
    ancestry, outer, call = Ancestry.none(rows), np.full(rows, -1, dtype=np.int64), label
    if len(place):
        part = _decided(evidence.part(place), settled[place], fingerprint=fingerprint)
        label, began, call = label.copy(), began.copy(), label.copy()
        label[place], call[place] = place[part.label], place[part.call]
        stands[place], rule[place], began[place] = part.stands, part.rule, part.began
        by[place] = np.where(part.by >= 0, place[part.by], -1)
        outer[place] = np.where(part.outer >= 0, place[part.outer], -1)
        ancestry = part.ancestry.spread(place, rows)
    looped = ancestry.looped()
    if len(looped):
        evidence = evidence.flagged(looped, PARENTS_CYCLE)
    calls, plain = merged(evidence, leaves, stands, call, ancestry)
    plain[looped] = False
    plain[calls.rows[number_attempts(calls, outer, began)]] = False
    return Verdicts(label, stands, rule, by, plain, calls, evidence)


def _joined(evidence: Evidence, leaves: Flags, *, fingerprint: bool) -> Flags:
    """Which records may have to do with another of these; of the others only leaves mean anything."""
    narrow = evidence.narrow
    role = narrow["role"]
    structure = (role == SPAN) | (role == AGENT) | (role == TOOL) | (role == LINK)
    joined = ~leaves & ~(structure & ~narrow["said"])
    for key in ("trace", "response", "request"):
        joined |= repeated(narrow[key])
    emitter = narrow["emitter"]
    at = np.flatnonzero(leaves & (emitter != 0)) if fingerprint else np.zeros(0, dtype=np.int64)
    joined[at[differing(emitter[at], narrow["voice"][at])]] = True
    if (role == METRIC).any():
        joined |= leaves & among(emitter, emitter[role == METRIC])
    found: Flags = joined
    return found


@dataclass(slots=True)
class _Decided:
    label: Ints
    stands: Flags
    rule: Ints
    by: Ints
    #: for each row the call that its own record was put with, aggregates and repeats left where they are
    call: Ints
    #: for each row when the record of its call that began last began
    began: Ints
    outer: Ints
    ancestry: Ancestry


def _decided(evidence: Evidence, settled: Flags, *, fingerprint: bool) -> _Decided:
    narrow = evidence.narrow
    rows, role = evidence.height, narrow["role"]
    leaves = role == LEAF
    barrier = (role == AGENT) | (role == TOOL)
    ancestry = Ancestry.of(narrow["span"], narrow["parent"])
    groups = Groups.of(rows)
    by_ids(evidence, leaves, groups)
    by_span(evidence, leaves, ancestry, groups)
    nesting = by_nesting(evidence, leaves, barrier, ancestry, groups)
    if fingerprint:
        by_fingerprint(evidence, leaves & ~nesting.gone, ancestry, groups)
        nesting.settle(groups)
    label = groups.label
    # A call of which any record was taken apart into inner calls is not a call of its own.
    apart = np.zeros(rows, dtype=bool)
    apart[label[nesting.gone]] = True
    gone_by = np.full(rows, -1, dtype=np.int64)
    gone_by[label[nesting.gone]] = nesting.by[nesting.gone]
    candidates = leaves & ~apart[label]

    best = _representatives(evidence, candidates, label, ancestry)
    stands = np.zeros(rows, dtype=bool)
    stands[best[best >= 0]] = True
    by = np.where(leaves, np.where(apart[label], gone_by[label], best[label]), -1)
    rule = np.where(leaves, groups.rule, 0)
    rule[leaves & apart[label]] = RULE["leaf_in_leaf"]

    _repeats(evidence, label, best, by, rule)
    # A point of a metric that told nothing new is a span by its role.
    summed = narrow["said"] & ((role == AGENT) | (role == SPAN)) & ~narrow["points"]
    aggregates(evidence, summed, leaves, settled, ancestry, stands, by, rule)
    metrics(evidence, leaves, settled, stands, by, rule)
    began = np.zeros(rows, dtype=np.int64)
    np.maximum.at(began, label[leaves], narrow["started"][leaves])
    return _Decided(
        np.where(by >= 0, label[np.maximum(by, 0)], label), stands, rule, by, label, began[label], nesting.outer, ancestry
    )


def _representatives(evidence: Evidence, candidates: Flags, label: Ints, ancestry: Ancestry) -> Ints:
    """For each label, the row that stands for it; -1 where none can."""
    narrow = evidence.narrow
    best = np.full(evidence.height, -1, dtype=np.int64)
    rows = np.flatnonzero(candidates)
    counts = np.bincount(label[rows], minlength=evidence.height)
    alone = rows[counts[label[rows]] == 1]
    best[label[alone]] = alone
    rows = rows[counts[label[rows]] > 1]
    by = narrow["entry"], narrow["started"], -ancestry.depth(np.arange(evidence.height)), narrow["precedence"], label
    order = np.lexsort([each[rows] for each in by])
    rows = rows[order][firsts(label[rows[order]])]
    best[label[rows]] = rows
    return best


def _repeats(evidence: Evidence, label: Ints, best: Ints, by: Ints, rule: Ints) -> None:
    """Records that say again what a call's own record says, or that tell of an answer nobody paid for."""
    narrow = evidence.narrow
    role, started = narrow["role"], narrow["started"]
    others = np.flatnonzero((role == REPEAT) | (role == NEVER))
    if not len(others):
        return
    leaves = np.flatnonzero(role == LEAF)
    counts = mixed(narrow["input"].view(np.uint64), narrow["output"].view(np.uint64))
    alike = (narrow["input"] >= 0) & (narrow["output"] >= 0)
    below = np.where(alike & ~narrow["logs"] & (narrow["parent"] != 0), mixed(narrow["parent"], counts), np.uint64(0))
    around = np.where(alike & (narrow["trace"] != 0), mixed(narrow["trace"], counts), np.uint64(0))
    found = []
    # By what is trusted most; of several the nearest in time.
    for trust, key in enumerate((narrow["response"], narrow["request"], below, around)):
        asked = others[key[others] != 0]
        near = leaves[among(key[leaves], key[asked])]
        moment = started if trust > 1 else np.zeros(len(started), dtype=np.int64)
        one, other = beside(key[near], moment[near], key[asked], moment[asked])
        row, leaf = asked[one], near[other]
        found.append(np.stack([row, np.full(len(row), trust), np.abs(moment[row] - moment[leaf]), leaf]))
    row, trust, apart, leaf = np.concatenate(found, axis=1)
    order = np.lexsort((leaf, apart, trust, row))
    row, leaf = row[order], leaf[order]
    nearest = firsts(row)
    by[row[nearest]] = best[label[leaf[nearest]]]
    rule[others] = np.where(role[others] == NEVER, RULE["never_billed"], RULE["repeat"])
