"""Where moments stand among others of their key, found without laying all that share a key beside each other."""

import numpy as np
import numpy.typing as npt

from spanledger.collector.columns.keys import Keys

Ints = npt.NDArray[np.int64]


def placed(key: Keys, moment: Ints, key_asked: Keys, moment_asked: Ints) -> tuple[Ints, Ints]:
    """These in the order of their keys and moments, and for each that is asked for where in that order it would stand: before the
    first of its key that is not earlier."""
    keys = np.unique(np.concatenate([key, key_asked]), return_inverse=True)[1]
    moments = np.unique(np.concatenate([moment, moment_asked]), return_inverse=True)[1]
    place = keys * (len(keys) + 1) + moments
    order = np.argsort(place[: len(key)], kind="stable")
    return order, np.searchsorted(place[: len(key)][order], place[len(key) :])


def beside(key: Keys, moment: Ints, key_asked: Keys, moment_asked: Ints) -> tuple[Ints, Ints]:
    """For each that is asked for those of its key next to it in time, one before it and one after: (asked, other)."""
    order, place = placed(key, moment, key_asked, moment_asked)
    asked = np.concatenate([np.arange(len(place))] * 2)
    other = np.concatenate([place - 1, place])
    within = (other >= 0) & (other < len(order))
    asked, other = asked[within], order[other[within]]
    ours = key[other] == key_asked[asked]
    return asked[ours], other[ours]


def ends_first(key: Keys, start: Ints, end: Ints, key_asked: Keys, start_asked: Ints) -> Ints:
    """For each that is asked for, of those of its key that start no earlier the one that ends first; -1 if there is none."""
    order, place = placed(key, start, key_asked, start_asked)
    # Of smaller keys every number is smaller, so that to look from the back for the least so far begins anew with each key.
    _, number = np.unique(key[order], return_inverse=True)
    by_end = np.argsort(end[order], kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[by_end] = np.arange(len(order))
    least = np.minimum.accumulate((number * len(order) + rank)[::-1])[::-1] % max(len(order), 1)
    found = np.full(len(place), -1, dtype=np.int64)
    there = np.flatnonzero(place < len(order))
    there = there[key[order[place[there]]] == key_asked[there]]
    found[there] = order[by_end[least[place[there]]]]
    return found
