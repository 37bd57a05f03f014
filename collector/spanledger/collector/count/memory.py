"""Recent evidence, kept so that what comes later can be told to belong to it; bounded.

Bound: an eighth more than `rows` records (60,000 by default) and a batch, about 1 kB each, what was posted for them
included. At 200 calls a second of one record each that is at least the last five minutes, at 5,000 the last twelve seconds,
and of sums and metrics of which nothing is decided yet all, up to half of it; of older evidence keys are known (`gone.py`), and
the rest is looked up in the ledger (`older.py`).
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from spanledger.collector.columns.chunks import Chunks, Flags, Rows
from spanledger.collector.columns.keys import Keys, among, distinct, entry_keys, mixed, repeated
from spanledger.collector.count.answered import Answered
from spanledger.collector.count.arrays import Arrays
from spanledger.collector.count.evidence import (
    AGENT,
    CORRECTION,
    LEAF,
    LINK,
    METRIC,
    NARROW,
    SPAN,
    Evidence,
    narrowed,
)
from spanledger.collector.count.fingerprint import SLACK_MICROS, buckets
from spanledger.collector.count.gone import SKEW_MICROS, Gone, Narrow
from spanledger.collector.count.heard import Heard
from spanledger.collector.recognise.recognise import EVIDENCE
from spanledger.ledger.frame import COLUMNS
from spanledger.ledger.schema import GROUPS

#: Columns that only an entry has, or that recognising alone needs.
_NOT_KEPT = {
    "kind", "reason", "rule", "stands_for", "first_attempt", "recorded_at", "day", "family", "status", "synthetic",
    *(c.name for c in GROUPS["claimed"]), *(c.name for c in GROUPS["money"] if c.name not in ("flags", "reported_cost_usd")),
}  # fmt: skip

#: A record of evidence, with when it came in microseconds.
KEPT: dict[str, Any] = {**{name: kind for name, kind in EVIDENCE.items() if name not in _NOT_KEPT}, "arrived": pl.Int64}

#: Columns of a posting that its record of evidence has as well, or that only a new entry needs. What its like, or a retry, can
#: add to is none of these: a reversal says what was posted, so that sums by it cancel.
FROM_EVIDENCE = (
    "trace_id", "span_id", "parent_span_id", "response_id", "request_id", "signal", "dialect", "scope_name", "scope_version",
    "occurred_at", "duration_seconds", "time_to_first_token_seconds", "cut_short", "tokens_estimated",
)  # fmt: skip
_NOT_POSTED = {
    *FROM_EVIDENCE, "kind", "reason", "rule", "stands_for", "recorded_at", "day", "attributes",
    *(c.name for c in GROUPS["claimed"]),
}  # fmt: skip

#: What was posted for a record as a call that still stands; with its evidence, enough to take it back.
POSTED: dict[str, Any] = {name: kind for name, kind in COLUMNS.items() if name not in _NOT_POSTED}
_MONEY = tuple(c.name for c in GROUPS["money"] if c.name in POSTED and c.name != "reported_cost_usd")

#: Arrays beside the narrow ones: how often a record was posted, the row of its call in `posted`, or -1, and whether that call
#: says just what the record says.
_OF_POSTINGS = {"version": np.int64, "standing": np.int64, "plain": np.bool_}

#: Memory is cut when it is over its bound by this part of it, …
_MARGIN = 8
#: … and of what was posted all is kept behind the first that stands, if so much of it does: to move the rest costs more.
_FULL = 0.75
#: How far what belongs together is followed from record to record.
_FARTHEST = 6


@dataclass(slots=True)
class Memory:
    """Rows of `evidence` and of the `arrays` go together."""

    rows: int = 60_000
    kept_for: timedelta = timedelta(hours=24)
    evidence: Chunks = field(default_factory=lambda: Chunks(KEPT))
    arrays: Arrays = field(default_factory=lambda: Arrays({**NARROW, **_OF_POSTINGS}))
    posted: Chunks = field(default_factory=lambda: Chunks(POSTED))
    heard: Heard = field(default_factory=Heard)
    #: evidence that came before this is no longer here; None while nothing was ever let go
    horizon: int | None = None
    #: sums and points of metrics that came up to this moment have waited long enough
    ripe: int = 0
    gone: Gone = field(default_factory=Gone)
    #: what providers called the answers of calls that are no longer here
    answered: Answered = field(default_factory=Answered)

    @property
    def version(self) -> Rows:
        """How often each record was posted."""
        return self.arrays["version"]

    @property
    def standing(self) -> Rows:
        """For each record the row of its call in `posted`, -1 if none stands."""
        return self.arrays["standing"]

    def add(self, evidence: pl.DataFrame, narrow: Narrow | None = None) -> Rows:
        """Keep records (`KEPT`) that are not here yet; gives their rows. `narrow` are their arrays, if heard already."""
        if narrow is None:
            narrow = narrowed(evidence)
            self.heard.note(evidence, narrow)
        again = np.flatnonzero(repeated(narrow["entry"]))
        new = np.ones(evidence.height, dtype=bool)
        new[again] = False
        new[again[np.unique(narrow["entry"][again], return_index=True)[1]]] = True
        new &= ~among(narrow["entry"], self.arrays["entry"])
        if not new.all():
            evidence = evidence.filter(pl.Series(new))
            narrow = {name: array[new] for name, array in narrow.items()}
        count, begin = evidence.height, self.evidence.height
        if count:
            self.evidence.append(evidence)
            nothing = {"version": np.zeros(count), "standing": np.full(count, -1), "plain": np.zeros(count)}
            self.arrays.extend({**narrow, **nothing}, count)
        return np.arange(begin, begin + count)

    def seen(self, rows: Rows) -> Evidence:
        """These records side by side."""
        return Evidence(self.evidence.told(rows), KEPT, {name: self.arrays[name][rows] for name in NARROW})

    def touched(self, new: Rows, *, fingerprint: bool) -> Rows:
        """The rows of all kept records that may belong to one call with any of these."""
        arrays = self.arrays
        metered = arrays["role"] == METRIC
        any_metered = bool(metered.any())
        talking = self.heard.talking({name: arrays[name] for name in ("role", "emitter")}) if fingerprint else None
        inside = np.zeros(self.evidence.height, dtype=bool)
        inside[new] = True
        frontier = new
        for _ in range(_FARTHEST):
            before = inside.copy()
            for name in ("trace", "response", "request"):
                inside[self._having(name, arrays[name][frontier], ~inside)] = True
            if talking is not None:
                inside[self._same_print(frontier[talking[frontier]], talking & ~inside)] = True
            if any_metered:
                role = arrays["role"][frontier]
                emitters = arrays["emitter"][frontier[(role == LEAF) | (role == METRIC)]]
                inside |= metered & among(arrays["emitter"], emitters)
            frontier = np.flatnonzero(inside & ~before)
            if not len(frontier):
                break
        return np.flatnonzero(inside)

    def _having(self, name: str, wanted: Keys, within: Flags | None = None) -> Rows:
        """The rows, within some, whose key is one of these."""
        keys = self.arrays[name]
        rows = np.arange(len(keys)) if within is None else np.flatnonzero(within)
        return rows[among(keys[rows], wanted[wanted != 0])]

    def unknown_likes(self, narrow: Narrow, *, arriving: bool) -> Rows:
        """Which of these records may have their like among what is no longer here; `arriving` ones that are here have not."""
        if self.horizon is None:
            return np.zeros(0, dtype=np.int64)
        late = (narrow["role"] != LINK) & (narrow["started"] != 0) & (narrow["started"] < self.horizon + SKEW_MICROS)
        rows = np.flatnonzero(late)
        if arriving and len(rows):
            here = self.arrays["entry"][self._having("entry", narrow["entry"][rows])]
            rows = rows[~among(narrow["entry"][rows], here)]
        if not len(rows):
            return rows
        asked = {name: array[rows] for name, array in narrow.items()}
        talking = self.heard.talking(asked)
        return rows[self.gone.may_hold(asked, np.zeros(len(rows), dtype=bool) if talking is None else talking)]

    def named_likes(self, narrow: Narrow) -> tuple[Rows, tuple[int, int] | None]:
        """Which of these arriving records name an answer of which something is no longer here, whenever they themselves ran, as
        a cached answer that is played again; and between which moments (microseconds) that came, None for ever. A provider takes
        back what it billed any time later."""
        if self.horizon is None:
            return np.zeros(0, dtype=np.int64), None
        rows, *came = self.answered.named(narrow)
        taken_back = np.flatnonzero((narrow["role"] == CORRECTION) & (narrow["response"] != 0))
        both = distinct(np.concatenate([rows, taken_back]))
        # Of an answer whose call stands here the ledger has nothing more to tell, however often it is played.
        for name in ("entry", "response", "request") if len(both) else ():
            rows = self._having(name, narrow[name][both])
            rows = rows if name == "entry" else rows[self.standing[rows] >= 0]
            both = both[~among(narrow[name][both], self.arrays[name][rows])]
        return both, None if len(taken_back) else (came[0], came[1])

    def _same_print(self, wanted: Rows, within: Flags) -> Rows:
        """Calls, within some, of the same emitter and input and at about the same time as one of these."""
        arrays = self.arrays
        if not len(wanted):
            return wanted
        first, last = arrays["started"][wanted].min() - SLACK_MICROS, arrays["ended"][wanted].max() + SLACK_MICROS
        within = within & (arrays["started"] <= last) & (arrays["ended"] >= first)
        rows = np.flatnonzero(within)
        prints = mixed(arrays["emitter"][rows], arrays["input"][rows].view(np.uint64))
        ours = mixed(arrays["emitter"][wanted], arrays["input"][wanted].view(np.uint64))
        like = among(prints, ours)
        rows, prints = rows[like], prints[like]
        if not len(rows):
            return rows
        at, bucket = buckets(arrays["started"][rows], arrays["ended"][rows])
        at_ours, bucket_ours = buckets(arrays["started"][wanted], arrays["ended"][wanted])
        hit = among(mixed(prints[at], bucket.view(np.uint64)), mixed(ours[at_ours], bucket_ours.view(np.uint64)))
        found = np.zeros(len(rows), dtype=bool)
        found[at[hit]] = True
        return rows[found]

    def remember(self, entries: pl.DataFrame) -> None:
        """Take over what is about to be posted; its column `row` says for which record."""
        if not entries.height:
            return
        kind, rows = entries["kind"], entries["row"].to_numpy()
        undone, called = (kind == "reversal").to_numpy(), (kind == "call").to_numpy()
        self.standing[rows[undone]] = -1
        self.standing[rows[called]] = self.posted.height + np.arange(called.sum())
        np.add.at(self.version, rows[~undone], 1)
        self.posted.append(entries if called.all() else entries[list(POSTED)].filter(pl.Series(called)))

    def rows_of(self, entry_ids: pl.Series) -> Rows:
        """The rows of these records; -1 for those that are not here."""
        wanted = entry_keys(entry_ids)
        rows = self._having("entry", wanted)
        keys = self.arrays["entry"][rows]
        order = np.argsort(keys)
        if not len(rows):
            return np.full(len(wanted), -1, dtype=np.int64)
        place = np.minimum(np.searchsorted(keys[order], wanted), len(rows) - 1)
        found = rows[order[place]]
        return np.where((self.arrays["entry"][found] == wanted) & entry_ids.is_not_null().to_numpy(), found, -1)

    def priced(self, entries: pl.DataFrame) -> None:
        """The money of calls that were posted just now."""
        money = [name for name in _MONEY if name in entries.columns]
        calls = entries[["kind", "entry_id", *money]].filter(pl.col("kind") == "call")
        if not calls.height or not self.posted.height:
            return
        recent = self.posted.take(self.posted.last(), ["entry_id", *money])
        if not recent["entry_id"].equals(calls["entry_id"]):
            given = recent[["entry_id"]].join(calls[["entry_id", *money]], on="entry_id", how="left", maintain_order="left")
            known = recent["entry_id"].is_in(calls["entry_id"].implode())
            calls = given.with_columns(given[name].cast(POSTED[name]).zip_with(known, recent[name]) for name in money)
        self.posted.amend([calls[name] for name in money])

    def let_go(self, now: int) -> None:
        """Drop what is beyond the bounds: the oldest records, and with them what was posted for them."""
        over = self.evidence.height - self.rows
        old = now - int(self.kept_for.total_seconds() * 1e6)
        arrived = self.arrays["arrived"]
        if not len(arrived) or (over < self.rows // _MARGIN and int(arrived[0]) > old - 3_600_000_000):
            return
        kept, pinned = arrived >= old, self._waiting()
        # What a provider took back may be told of before its call is, and no entry tells of it.
        pinned[np.flatnonzero(kept & (self.arrays["role"] == CORRECTION))[-(self.rows // _MARGIN) :]] = True
        kept[np.flatnonzero(~pinned)[: max(over, 0)]] = False
        kept |= pinned
        if kept.all():
            return
        self.horizon = max(int(arrived[~kept].max()), self.horizon or 0)
        kept[self._last_points(~pinned & (arrived <= self.horizon))] = True
        if kept.all():
            return
        gone = np.flatnonzero(~kept)
        oldest = slice(0, len(gone)) if gone[-1] == len(gone) - 1 else gone
        leaving = {name: self.arrays[name][oldest] for name in NARROW}
        self.gone.add(leaving)
        self.answered.add(leaving)
        self.answered.let_go(old)
        self.evidence.keep(kept)
        self.arrays.keep(kept)
        here = np.flatnonzero(self.standing >= 0)
        stands = np.zeros(self.posted.height, dtype=bool)
        stands[self.standing[here]] = True
        first = int(stands.argmax()) if len(here) else len(stands)
        if stands[first:].sum() > _FULL * (len(stands) - first):
            stands[first:] = True
        self.posted.keep(stands)
        self.standing[here] = (np.cumsum(stands) - 1)[self.standing[here]]
        self.heard.let_go()

    def overdue(self) -> int:
        """Up to which arrival what waits is to be decided at once, lest more than half of memory is kept for it; 0 for none."""
        most = self.rows // 2
        waiting = self.arrays["arrived"][self._waiting()] if self.evidence.height > most else self.arrays["arrived"][:0]
        return int(np.sort(waiting)[-most - 1]) if len(waiting) > most else 0

    def _waiting(self) -> Flags:
        """Sums and points of which nothing is decided yet: what they stand for nothing else may tell of."""
        role = self.arrays["role"]
        sums = (role == METRIC) | (((role == AGENT) | (role == SPAN)) & self.arrays["said"])
        found: Flags = sums & (self.version == 0) & (self.arrays["arrived"] > self.ripe)
        return found

    def past(self, rows: Rows) -> Flags:
        """Which of these are points of which all is decided: what they were measured from, or the others of their moment, may be
        gone, so that nothing can be decided of them anew."""
        arrived = self.arrays["arrived"][rows]
        old = (self.arrays["role"][rows] == METRIC) & (arrived <= (self.horizon or 0))
        found: Flags = old & ((arrived <= self.ripe) | (self.version[rows] > 0))
        # What stands for a call is taken back when its emitter is heard after all.
        standing = np.flatnonzero(found & (self.standing[rows] >= 0))
        emitters = self.evidence.take(rows[standing], ["emitter"])["emitter"] if len(standing) else ()
        found[standing] = [emitter not in self.heard.last for emitter in emitters]
        return found

    def _last_points(self, among: Flags) -> Rows:
        """Of each series the last point among these: later ones are measured from it."""
        points = np.flatnonzero(among & (self.arrays["role"] == METRIC))
        if not len(points):
            return points
        series = self.evidence.take(points, ["series", "name", "since", "ended"])
        last = (pl.col("ended") == pl.col("ended").max().over("series", "name", "since")).fill_null(False)
        found: Rows = points[series.select(last).to_series().to_numpy()]
        return found

    def forgot(self, before: int) -> None:
        """Evidence that came up to this moment (microseconds since 1970) may no longer be here, nor known to have been."""
        self.horizon = max(before, self.horizon or 0)
        self.gone.forgot(before)


def as_kept(frame: pl.DataFrame, schema: dict[str, Any]) -> pl.DataFrame:
    """The frame in these columns; those it lacks are null."""
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(kind).alias(name) for name, kind in schema.items()
    )


def moment(now: datetime) -> int:
    """Microseconds since 1970."""
    return int(now.timestamp() * 1e6)
