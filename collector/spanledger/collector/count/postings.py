"""The entries that bring the ledger from what was posted to what the evidence now means: additive, never an edit."""

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from spanledger.collector.columns import identity
from spanledger.collector.columns.chunks import gathered, in_columns, index_of, stacked
from spanledger.collector.count.evidence import AGENT, HEARD, LEAF, METRIC, NEVER, PAST, REPEAT, ROLES, SPAN
from spanledger.collector.count.grouping import RULE, RULES
from spanledger.collector.count.resolve import CONTENT, Verdicts
from spanledger.collector.count.told import Told
from spanledger.ledger.frame import COLUMNS
from spanledger.ledger.schema import MEASURES

Rows = npt.NDArray[np.int64]

#: An entry without money, with `at`: the row of the evidence it is posted for.
POSTING: dict[str, Any] = {**COLUMNS, "at": pl.Int64}

#: Whether records of a role, by its code, are told of when they are no call.
_TOLD = np.isin(np.arange(len(ROLES)), (LEAF, REPEAT, NEVER, AGENT, SPAN, METRIC))
_CONTENT = {name: COLUMNS[name] for name in CONTENT}
#: Nobody who sends telemetry can know by which numbers it is hashed, nor make a change look like none.
_SEED = secrets.randbits(64)
_RULE_NAMES = pl.Series("rule", list(RULES), dtype=pl.String)


def postings(
    verdicts: Verdicts, posted: pl.DataFrame, whole: Callable[[Rows], pl.DataFrame], version: Rows, now: datetime
) -> pl.DataFrame:
    """Entries by `POSTING`; reversals with the money of what they take back.

    What metrics say beside spans or logs is a duplicate whose claims can be laid beside them.
    `posted` are the calls that stand in the ledger for rows of this evidence, which its column `at` names: their `entry_id`
    and `CONTENT`; `whole` gives those at some places in all their columns. `version[i]` says how often row i was posted.
    """
    evidence = verdicts.evidence
    label = verdicts.label
    fresh, undone, stand_for = verdicts.calls, pl.DataFrame(), _Standing(evidence.height)
    spoken_for = np.zeros(evidence.height, dtype=bool)
    heard = np.flatnonzero(evidence.narrow["role"] == HEARD)
    if len(heard):
        stand_for.put(label[heard], evidence.take(heard, ["entry_id"])["entry_id"])
    row = fresh.rows
    if posted.height:
        kept = _unchanged(posted, fresh, label)
        undone = whole(np.flatnonzero(kept < 0)) if (kept < 0).any() else undone
        new = np.ones(len(row), dtype=bool)
        new[kept[kept >= 0]] = False
        stand_for.put(label[posted["at"].to_numpy()[kept >= 0]], posted["entry_id"].filter(pl.Series(kept >= 0)))
        # A record that came later and says the same as the one that was posted for its call.
        spoken_for[row[kept[kept >= 0]]] = True
        spoken_for[posted["at"].to_numpy()] = False
        fresh, row = fresh.at(np.flatnonzero(new)), row[new]
    _number_versions(fresh, version[row])
    # Of the metrics that say the same of one moment, one is told.
    metered = evidence.narrow["role"] == METRIC
    again = metered & (verdicts.by >= 0) & (metered | (evidence.narrow["role"] == PAST))[np.maximum(verdicts.by, 0)]
    quiet = (verdicts.rule == RULE["waits"]) | again
    told = _TOLD[evidence.narrow["role"]] & (evidence.narrow["said"] | (evidence.narrow["role"] == LEAF))
    repeated = np.flatnonzero((~verdicts.stands | spoken_for) & ~quiet & (version == 0) & told)
    if undone.height or len(repeated):
        stand_for.put(label[row], fresh.column("entry_id"))
    frames = [_reversals(undone, verdicts, stand_for), _told_of(fresh, repeated, verdicts, stand_for)]
    entries = stacked(frames, POSTING) if undone.height else frames[-1]
    return entries.with_columns(
        pl.lit(now).cast(COLUMNS["recorded_at"]).alias("recorded_at"), pl.col("occurred_at").dt.date().alias("day")
    )


class _Standing:
    """The ids of the entries that stand for calls, by label. What is put last stands."""

    def __init__(self, labels: int) -> None:
        self._place = np.full(labels, -1, dtype=np.int64)
        self._ids: list[pl.Series] = []
        self._held = 0

    def put(self, label: Rows, entry_ids: pl.Series) -> None:
        self._place[label] = self._held + np.arange(len(label))
        self._ids.append(entry_ids)
        self._held += len(label)

    def ids(self, label: Rows) -> pl.Series:
        """The ids for these labels; null where nothing stands, and for -1."""
        if not self._held:
            return pl.Series([None], dtype=pl.String).new_from_index(0, len(label))
        return pl.concat(self._ids)[index_of(np.where(label < 0, -1, self._place[label]))]


def _unchanged(posted: pl.DataFrame, wanted: Told, label: Rows) -> Rows:
    """For each posted call, the place among what is wanted that says the same; -1 if none. One for each call."""
    place = np.full(len(label), -1, dtype=np.int64)
    place[label[wanted.rows]] = np.arange(len(wanted.rows))
    said = label[posted["at"].to_numpy()]
    now = place[said]
    known = np.flatnonzero(now >= 0)
    contents = gathered(posted, known, _CONTENT), wanted.columns(CONTENT, now[known])
    said_before, said_now = (content.hash_rows(_SEED).to_numpy() for content in contents)
    same = said_before == said_now
    same_rows = known[same]
    kept = np.full(posted.height, -1, dtype=np.int64)
    if len(same_rows):
        # Of several that say the same of one call, that of the lowest id stands.
        ids = posted["entry_id"].gather(pl.Series(same_rows))
        first = pl.DataFrame({"label": said[same_rows], "id": ids, "row": same_rows}).sort("id").unique("label", keep="first")
        stays = first["row"].to_numpy()
        kept[stays] = now[stays]
    return kept


def _number_versions(fresh: Told, times: Rows) -> None:
    """Entry ids: the record's own the first time it is posted, then one derived from it."""
    again = np.flatnonzero(times)
    if len(again):
        ids = identity.derived(fresh.column("entry_id", again), "call", pl.Series(times[again]))
        fresh.say("entry_id", again, ids)


def _reversals(undone: pl.DataFrame, verdicts: Verdicts, stand_for: _Standing) -> pl.DataFrame:
    """The negative of what was posted, money included."""
    if not undone.height:
        return undone
    at = undone["at"].to_numpy()
    rule = _RULE_NAMES.gather(pl.Series(verdicts.rule[at]))
    negated = [(-pl.col(name)).alias(name) for name in MEASURES]
    meters = pl.col("other_meters").list.eval(
        pl.struct(pl.element().struct.field("key"), (-pl.element().struct.field("value")).alias("value"))
    )
    anew = pl.col("now_stands").is_not_null()
    return undone.with_columns(stand_for.ids(verdicts.label[at]).alias("now_stands")).with_columns(
        *negated,
        meters.alias("other_meters"),
        pl.lit("reversal").alias("kind"),
        pl.col("entry_id").alias("stands_for"),
        identity.derived(undone["entry_id"], "reversal").alias("entry_id"),
        pl.when(rule == "").then(pl.lit("learned_more")).otherwise(rule).alias("rule"),
        pl.when(anew)
        .then(pl.concat_str([pl.lit("stands now as "), pl.col("now_stands")]))
        .otherwise(pl.lit("is no call of its own"))
        .alias("reason"),
    )


#: Columns of an entry that calls and duplicates take from records; what a duplicate measures are claims.
_WORDS = [name for name in COLUMNS if name not in MEASURES and name != "other_meters"]
_MEASURED = [*(name for name in MEASURES if name != "calls"), "other_meters"]
_CLAIMS = {
    "claimed_input_tokens": "input_tokens",
    "claimed_output_tokens": "output_tokens",
    "claimed_cost_usd": "reported_cost_usd",
}
_KINDS = pl.Series("kind", ["call", "duplicate"])


def _told_of(fresh: Told, repeated: Rows, verdicts: Verdicts, stand_for: _Standing) -> pl.DataFrame:
    """Calls, and what claimed to be one and is none: no measures, its claims beside. Each column is fetched once."""
    evidence, calls = verdicts.evidence, len(fresh.rows)
    rows = np.concatenate([fresh.rows, repeated])
    of_call = np.arange(len(rows)) < calls
    frame = pl.DataFrame(
        [
            pl.Series("at", rows),
            _KINDS[pl.Series((~of_call).astype(np.uint32))],
            *fresh.beside(_WORDS, repeated).get_columns(),
            *fresh.beside(_MEASURED, np.full(len(repeated), -1)).get_columns(),
            pl.concat([fresh.column("calls"), pl.Series([0]).new_from_index(0, len(repeated))], rechunk=True),
        ]
    )
    if len(repeated):
        claimed = evidence.take(np.where(of_call, -1, rows), list(_CLAIMS.values()))
        claims = claimed.rename({name: claim for claim, name in _CLAIMS.items()})
        rule = _RULE_NAMES[index_of(np.where(of_call, -1, verdicts.rule[rows]))]
        stands = stand_for.ids(np.where(of_call, -1, verdicts.label[rows])).alias("stands_for")
        frame = frame.hstack([*claims.get_columns(), rule, stands])
    return in_columns(frame, POSTING)
