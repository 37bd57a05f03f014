"""Which calls of one emitter are one by their fingerprint, where no id and no nesting joins them."""

import numpy as np
import numpy.typing as npt
import polars as pl

from spanledger.collector.columns.ancestry import Ancestry
from spanledger.collector.columns.keys import Keys, among, differing, distinct, firsts, keys_of, mixed, paired
from spanledger.collector.count.evidence import LEAF, Evidence
from spanledger.collector.count.grouping import Groups
from spanledger.collector.count.nearby import placed
from spanledger.collector.recognise import names

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

#: Clocks and callbacks of two instrumentations of one call differ by no more than this.
SLACK_MICROS = 100_000
#: Emitters that add up a stream's counts differ by a token or two.
OUTPUT_TOLERANCE = 2
#: Width of the buckets in which fingerprints are looked up.
BUCKET_MICROS = 4_000_000
_MOST_BUCKETS = 64
#: Two calls for different ones of these are two, however alike.
_WHOM = ("tenant", "user", "session")
#: … and so are two that ran at different ones of these. Senders that name no service share one emitter.
_WHERE = ("host", "process")

#: Of more records than these under one key only neighbours in time are laid beside each other, so many on either side.
_CROWD, _NEIGHBOURS = 64, 4
#: Of so many voices of one emitter calls made at once are told apart.
_MOST_VOICES = 16


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


def by_fingerprint(evidence: Evidence, standing: Flags, ancestry: Ancestry, groups: Groups) -> None:
    """Equal usage, compatible model, one interval inside the other, same emitter, another scope or signal, one to one."""
    narrow = evidence.narrow
    rows = np.flatnonzero(
        standing & (narrow["emitter"] != 0) & ((narrow["input"] >= 0) | (narrow["output"] >= 0) | narrow["failed"])
    )
    rows = rows[differing(_prints(evidence, rows), narrow["voice"][rows], groups.label[rows])]
    left, right, crowd = _pairs(evidence, rows)
    left, right = _join_closest(evidence, *_fitting(evidence, left, right, ancestry), groups)
    # Of calls made at once, all of which began before any was told of again, the closest ones are few.
    loose = distinct(np.concatenate([left, right, crowd]))
    for _ in range(3):
        if not len(loose) or not _join_in_order(evidence, loose, ancestry, groups):
            break


def _prints(evidence: Evidence, rows: Ints) -> Keys:
    narrow = evidence.narrow
    return mixed(narrow["emitter"][rows], narrow["input"][rows].view(np.uint64))


def _pairs(evidence: Evidence, rows: Ints) -> tuple[Ints, Ints, Ints]:
    """Pairs of these rows that agree in emitter and input and are told of by two voices at about the same time; and the rows that
    are in a crowd, of which only neighbours are paired."""
    narrow = evidence.narrow
    start, voice = narrow["started"], narrow["voice"]
    at, bucket = buckets(start[rows], narrow["ended"][rows])
    keys = mixed(_prints(evidence, rows)[at], bucket.view(np.uint64))
    shared = np.flatnonzero(differing(keys, voice[rows[at]], at))
    at, keys = at[shared], keys[shared]
    order = np.lexsort((start[rows[at]], keys))
    at, keys = rows[at[order]], keys[order]
    begins = firsts(keys)
    size = np.diff(np.append(begins, len(keys)))
    crowded = np.repeat(size > _CROWD, size)
    one, other = paired(keys[~crowded], keys[~crowded])
    few, many = at[~crowded], np.flatnonzero(crowded)
    left, right = few[one], few[other]
    for step in range(1, _NEIGHBOURS + 1) if len(many) else ():
        beside = many[many + step < len(keys)]
        beside = beside[keys[beside] == keys[beside + step]]
        left, right = np.concatenate([left, at[beside]]), np.concatenate([right, at[beside + step]])
    left, right = np.minimum(left, right), np.maximum(left, right)
    told = (left < right) & (voice[left] != voice[right])
    left, right = np.divmod(distinct(left[told] * evidence.height + right[told]), max(evidence.height, 1))
    return left, right, at[many]


def _fitting(evidence: Evidence, left: Ints, right: Ints, ancestry: Ancestry) -> tuple[Ints, Ints]:
    """Those of these pairs that agree in all but what the records say that were put with them already."""
    narrow = evidence.narrow
    start, end, voice, response = (narrow[name] for name in ("started", "ended", "voice", "response"))
    inside = (start[left] >= start[right] - SLACK_MICROS) & (end[left] <= end[right] + SLACK_MICROS)
    around = (start[right] >= start[left] - SLACK_MICROS) & (end[right] <= end[left] + SLACK_MICROS)
    fit = (inside | around) & (narrow["failed"][left] == narrow["failed"][right]) & (voice[left] != voice[right])
    fit &= (response[left] == response[right]) | (response[left] == 0) | (response[right] == 0)
    fit &= (narrow["input"][left] == narrow["input"][right]) & (narrow["emitter"][left] == narrow["emitter"][right])
    left, right = left[fit], right[fit]
    fit = _alike(evidence, left, right)
    left, right = left[fit], right[fit]
    together = ~_for_others(evidence, left, right, ancestry) & ~_apart(evidence, left, right)
    return left[together], right[together]


def _join_closest(evidence: Evidence, left: Ints, right: Ints, groups: Groups) -> tuple[Ints, Ints]:
    """Put the closest of these pairs together, one to one; gives those that could still be put together."""
    start, end, entry = (evidence.narrow[name] for name in ("started", "ended", "entry"))
    apart = np.abs(start[left] - start[right]) + np.abs(end[left] - end[right])
    order = np.lexsort((entry[right], entry[left], apart))
    left, right = left[order], right[order]
    for turn in range(4):
        one, other = groups.label[left], groups.label[right]
        fit = np.flatnonzero(one != other)
        fit = fit[~_contradict(one[fit], other[fit], evidence, groups)]
        left, right, one, other = left[fit], right[fit], one[fit], other[fit]
        if turn == 3 or not len(fit):
            break
        # The closest pair of both its calls is taken; what is left is looked at again.
        rank = np.arange(len(fit))
        closest = np.full(evidence.height, len(fit))
        np.minimum.at(closest, one, rank)
        np.minimum.at(closest, other, rank)
        taken = (closest[one] == rank) & (closest[other] == rank)
        groups.join(left[taken], right[taken], "fingerprint")
    return left, right


def _join_in_order(evidence: Evidence, rows: Ints, ancestry: Ancestry, groups: Groups) -> bool:
    """Put calls together in the order in which they began, one voice after the other; whether there were any."""
    narrow = evidence.narrow
    nth = _nth_voice(narrow["emitter"][rows], narrow["voice"][rows])
    found = False
    for last in range(1, min(int(nth.max()) + 1, _MOST_VOICES)):
        for agreeing in ((*_WHERE, *_WHOM, "output"), (*_WHERE, "tenant", "output"), ("output",), ()):
            for swapped in (False, True):
                left, right = _open(evidence, rows[nth < last], rows[nth == last], groups)
                if not len(left):
                    break
                both = np.concatenate([left, right])
                said = {**_whom(evidence, both, ancestry), "output": narrow["output"][both].view(np.uint64)}
                said |= {name: keys_of(evidence.take(both, [name]).to_series()) for name in _WHERE}
                keys = mixed(
                    _prints(evidence, both), narrow["failed"][both].astype(np.uint64), *(said[name] for name in agreeing)
                )
                sides = (left, keys[: len(left)]), (right, keys[len(left) :])
                (outer, key), (inner, key_inner) = reversed(sides) if swapped else sides
                one, other = _fitting(evidence, *_in_order(narrow["started"], outer, key, inner, key_inner), ancestry)
                sure = ~_contradict(groups.label[one], groups.label[other], evidence, groups)
                groups.join(one[sure], other[sure], "fingerprint")
                found |= bool(sure.any())
    return found


def _nth_voice(emitter: Keys, voice: Keys) -> Ints:
    """The number of each record's voice among those of its emitter."""
    order = np.lexsort((voice, emitter))
    emitter, voice = emitter[order], voice[order]
    number = np.cumsum(np.concatenate([[True], (emitter[1:] != emitter[:-1]) | (voice[1:] != voice[:-1])]))
    begins = firsts(emitter)
    found = np.empty(len(order), dtype=np.int64)
    found[order] = number - np.repeat(number[begins], np.diff(np.append(begins, len(order))))
    return found


def _open(evidence: Evidence, early: Ints, late: Ints, groups: Groups) -> tuple[Ints, Ints]:
    """One record of each call that only one of these sides tells of, of those that the other side may tell of as well."""
    label = groups.label
    of_early, of_late = np.zeros(len(label), dtype=bool), np.zeros(len(label), dtype=bool)
    of_early[label[early]] = True
    of_late[label[late]] = True
    early, late = early[~of_late[label[early]]], late[~of_early[label[late]]]
    prints, prints_late = _prints(evidence, early), _prints(evidence, late)
    sides = early[among(prints, prints_late)], late[among(prints_late, prints)]
    left, right = (rows[np.unique(label[rows], return_index=True)[1]] for rows in sides)
    return left, right


def _in_order(start: Ints, outer: Ints, key: Keys, inner: Ints, key_inner: Keys) -> tuple[Ints, Ints]:
    """Each outer record with the first inner one of its key that began no earlier and is not taken by those before it."""
    first = np.lexsort((start[outer], key))
    outer, key = outer[first], key[first]
    order, place = placed(key_inner, start[inner], key, start[outer] - SLACK_MICROS)
    inner, key_inner = inner[order], key_inner[order]
    # The nth of a key takes the nth, unless it began later than that.
    nth = np.arange(len(outer))
    of_key = np.cumsum(np.concatenate([[0], key[1:] != key[:-1]])) * (len(outer) + len(inner))
    taken = np.maximum.accumulate(place - nth + of_key) - of_key + nth
    there = np.flatnonzero(taken < len(inner))
    there = there[key[there] == key_inner[taken[there]]]
    return outer[there], inner[taken[there]]


def _alike(evidence: Evidence, left: Ints, right: Ints) -> Flags:
    """Which pairs agree in output, with or without the reasoning that one of them loses, and in model."""
    if not len(left):
        return np.zeros(0, dtype=bool)
    rows, inverse = np.unique(np.concatenate([left, right]), return_inverse=True)
    one, other = inverse[: len(left)], inverse[len(left) :]
    said = evidence.take(rows, ["model", "reasoning_tokens"])
    output, lost = evidence.narrow["output"][rows], evidence.narrow["lost"][rows]
    bare = np.where(output >= 0, output - said["reasoning_tokens"].fill_null(0).to_numpy(), -1)
    counts = (
        _equal(output[one], output[other])
        | (lost[one] & _equal(output[one], bare[other]))
        | (lost[other] & _equal(bare[one], output[other]))
    )
    # Of few models there are many pairs.
    texts, model = np.unique(keys_of(said["model"]), return_index=True, return_inverse=True)[1:]
    bare_names = [names.bare_model(name or "") for name in said["model"].gather(pl.Series(texts))]
    both, which = np.unique(model[one] * len(texts) + model[other], return_inverse=True)
    named = [(bare_names[pair // len(texts)], bare_names[pair % len(texts)]) for pair in both.tolist()]
    alike: Flags = counts & np.array([names.may_be_one(a, b) for a, b in named])[which]
    return alike


def _for_others(evidence: Evidence, left: Ints, right: Ints, ancestry: Ancestry) -> Flags:
    """Which pairs are for different ones, as they, what stands above them or their resource says. A trace is one request, in
    which two may spell its user in two ways; but not its tenant."""
    apart = np.zeros(len(left), dtype=bool)
    if not len(left):
        return apart
    rows, inverse = np.unique(np.concatenate([left, right]), return_inverse=True)
    one, other = inverse[: len(left)], inverse[len(left) :]
    elsewhere = evidence.narrow["trace"][left] != evidence.narrow["trace"][right]
    for name, whom in _whom(evidence, rows, ancestry).items():
        differ = (whom[one] != whom[other]) & (whom[one] != 0) & (whom[other] != 0)
        apart |= differ & (elsewhere | (name == "tenant"))
    return apart


def _apart(evidence: Evidence, left: Ints, right: Ints) -> Flags:
    """Which pairs ran on different hosts or in different processes, as their resources say."""
    apart = np.zeros(len(left), dtype=bool)
    for name in _WHERE if len(left) else ():
        if evidence.knows(name) is not None:
            one, other = (keys_of(evidence.take(rows, [name]).to_series()) for rows in (left, right))
            apart |= (one != other) & (one != 0) & (other != 0)
    return apart


def _whom(evidence: Evidence, rows: Ints, ancestry: Ancestry) -> dict[str, Keys]:
    """Keys of whom these records are for, as they, what stands above them or their resource says; 0 where nobody does."""
    found = {}
    for name in _WHOM:
        whom = keys_of(evidence.take(rows, [f"resource_{name}"]).to_series())
        if (known := evidence.knows(name)) is not None:
            source = ancestry.inherited(rows, known)
            said = np.flatnonzero(source >= 0)
            whom = whom.copy()
            whom[said] = keys_of(evidence.take(source[said], [name]).to_series())
        found[name] = whom
    return found


def _equal(left: Ints, right: Ints) -> Flags:
    near: Flags = np.abs(left - right) <= OUTPUT_TOLERANCE
    return near


def _contradict(one: Ints, other: Ints, evidence: Evidence, groups: Groups) -> Flags:
    """Which pairs of calls one scope and signal describes both, or have response ids of their own."""
    narrow, label = evidence.narrow, groups.label
    concerned = np.zeros(evidence.height, dtype=bool)
    concerned[one] = concerned[other] = True
    rows = np.flatnonzero(concerned[label] & (narrow["role"] == LEAF))
    voice, call = narrow["voice"][rows], label[rows].view(np.uint64)
    named = np.zeros(evidence.height, dtype=bool)
    named[label[rows[narrow["response"][rows] != 0]]] = True
    contradict: Flags = named[one] & named[other]
    pair, member = paired(one.view(np.uint64), call)
    contradict[pair[among(mixed(voice[member], other[pair].view(np.uint64)), mixed(voice, call))]] = True
    return contradict
