"""Attempts of one logical call: a failed one and what was tried next in its place."""

from typing import cast

import numpy as np
import numpy.typing as npt
import polars as pl

from spanledger.collector.columns.keys import among, keys_of, mixed
from spanledger.collector.count.told import Told

Ints = npt.NDArray[np.int64]

#: What begins later than this after a failure is a call of its own.
LONGEST_PAUSE_MICROS = 60_000_000


def number_attempts(told: Told, outer: Ints, began: Ints) -> Ints:
    """Let calls say their `attempt` and `first_attempt`; gives the places of those that have one.

    `outer[row]` is the record inside which a row was made, -1 for none; `began[row]` is when its innermost record began.

    Calls follow each other if they were made for one call or below one span, of one model by one scope, the earlier one
    failed, and the later one began within a minute of its end. An emitter's own count stands where none is seen.
    """
    evidence, rows = told.evidence, told.rows
    failed = (told.column("outcome") == "error").fill_null(False).to_numpy()
    if not failed.any():
        return rows[:0]
    inside = np.zeros(evidence.height, dtype=bool)
    inside[outer[outer >= 0]] = True
    # An outer record that speaks for the one call inside it was made for itself.
    made_for = np.where((outer[rows] < 0) & inside[rows], rows, outer[rows])
    trace = evidence.narrow["trace"][rows]
    like = np.where(made_for >= 0, made_for.view(np.uint64), trace)
    at = np.flatnonzero((made_for >= 0) | (trace != 0))
    at = at[among(like[at], like[at][failed[at]])]
    said = told.columns(["parent_span_id", "scope_name", "requested_model", "model"], at)
    model = said.select(pl.coalesce("requested_model", "model")).to_series()
    parent, scope, model_key = keys_of(said["parent_span_id"]), keys_of(said["scope_name"]), keys_of(model)
    below = np.where(
        (trace[at] != 0) & (parent != 0) & (model_key != 0), mixed(trace[at], parent, scope, model_key), np.uint64(0)
    )
    place = np.where(made_for[at] >= 0, mixed(made_for[at].view(np.uint64) + np.uint64(1)), below)
    at, place = at[place != 0], place[place != 0]
    start, end = began[rows[at]], evidence.narrow["ended"][rows[at]]
    order = np.lexsort((evidence.narrow["entry"][rows[at]], end, start, place))
    at, place, start, end = at[order], place[order], start[order], end[order]
    pause = start[1:] - end[:-1]
    follows = failed[at[:-1]] & (place[1:] == place[:-1]) & (pause >= -1_000) & (pause <= LONGEST_PAUSE_MICROS)
    begins = np.flatnonzero(np.concatenate([[True], ~follows])) if len(at) else at
    tries = np.diff(np.append(begins, len(at)))
    head = np.repeat(at[begins], tries)
    nth = np.arange(len(at)) - np.repeat(begins, tries) + 1
    linked = np.repeat(tries > 1, tries)
    at = cast(Ints, at[linked])
    if len(at):
        told.say("attempt", at, pl.Series(nth[linked]))
        told.say("first_attempt", at, told.column("entry_id", head[linked]))
    return at
