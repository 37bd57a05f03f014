"""Loops of calls that ran beside each other below one span, told apart where their emitter sums each of them up.

Which call goes on with which loop is not written anywhere. But each goes on with one call at most, so that whichever is taken of
those that fit, the sum over all of them is the same.
"""

import numpy as np
import numpy.typing as npt

from spanledger.collector.columns.keys import Keys, among, mixed
from spanledger.collector.count.evidence import LEAF, Evidence

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

#: Emitters cut the moments at which a call ended and the next began to milliseconds.
_SLACK_MICROS = 1_000
#: Of more calls than these below one span none are told apart: each is laid beside all loops that are open.
_MOST_CALLS = 256


def side_by_side(evidence: Evidence, rows: Ints, run: Keys, asks: tuple[Flags, Flags]) -> Keys:
    """The `run` of each of these rows; of calls that overlap another of their run, a key for each loop. `asks` says which of them
    asked for tools, and which may have without saying so."""
    narrow = evidence.narrow
    started, ended = narrow["started"][rows], narrow["ended"][rows]
    calls = np.flatnonzero(narrow["role"][rows] == LEAF)
    calls = calls[np.lexsort((narrow["entry"][rows[calls]], started[calls], run[calls]))]
    next_to = (run[calls][1:] == run[calls][:-1]) & (started[calls][1:] + _SLACK_MICROS < ended[calls][:-1])
    if not next_to.any():
        return run
    found = run.copy()
    calls = calls[among(run[calls], run[calls][1:][next_to])]
    for members in np.split(calls, np.flatnonzero(run[calls][1:] != run[calls][:-1]) + 1):
        if len(members) <= _MOST_CALLS:
            found[members] = mixed(
                run[members], _loops(narrow["input"][rows], narrow["output"][rows], started, ended, asks, members)
            )
    return found


def _loops(read: Ints, written: Ints, started: Ints, ended: Ints, asks: tuple[Flags, Flags], members: Ints) -> Keys:
    """The number of each member's loop, from one on; members are in the order in which they began."""
    now, wrote, asked, mute = (each[members] for each in (read, written, *asks))
    before = ended[members][None, :] <= started[members][:, None] + _SLACK_MICROS
    grown = now[:, None] - now[None, :]
    fits = np.tril(before, -1) & (grown > 0) & (wrote[:, None] >= wrote[None, :]) & (asked | mute)[None, :]
    # What a call read itself is read again by the next one of its loop: its sum less any that it may have gone on with.
    own = now - np.where(fits, now[None, :], 0).max(axis=1, initial=0)
    fits &= asked[None, :] | (grown >= own[None, :])
    goes_on = _one_to_one([np.flatnonzero(row)[np.argsort(-now[row], kind="stable")].tolist() for row in fits])
    loop = np.zeros(len(members), dtype=np.uint64)
    for place in range(len(members)):
        loop[place] = loop[goes_on[place]] if place in goes_on else place + 1
    return loop


def _one_to_one(fitting: list[list[int]]) -> dict[int, int]:
    """For as many as can be, one of those that fit each, and none twice."""
    taken: dict[int, int] = {}
    for place in range(len(fitting)):
        # A place that finds all taken asks those that took them to take another: breadth first, each once.
        asked_by: dict[int, int] = {}
        waiting, free = [place], None
        while waiting and free is None:
            asking = waiting.pop(0)
            for one in fitting[asking]:
                if one not in asked_by:
                    asked_by[one] = asking
                    if one not in taken:
                        free = one
                        break
                    waiting.append(taken[one])
        while free is not None:
            asking = asked_by[free]
            last = next((one for one, by in taken.items() if by == asking), None)
            taken[free] = asking
            free = last
    return {by: one for one, by in taken.items()}
