"""Turn evidence into entries: every call once, whatever the order in which its spans, logs and metrics arrive.

Each batch is laid beside what memory (and, for late comers, the ledger) holds of the same traces, ids and fingerprints;
`resolve` says what all of it means; `postings` are the entries that bring the ledger there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from spanledger.collector.columns.chunks import in_columns
from spanledger.collector.columns.keys import among, keys_of
from spanledger.collector.count.answered import Answered
from spanledger.collector.count.evidence import AGENT, METRIC, PAST, SPAN, Evidence, narrowed
from spanledger.collector.count.evidence_files import PLAIN, REPEATED, WRITTEN, EvidenceFiles
from spanledger.collector.count.gone import Narrow
from spanledger.collector.count.grouping import weak_ids
from spanledger.collector.count.memory import FROM_EVIDENCE, KEPT, Memory, moment
from spanledger.collector.count.older import LONGEST_CALL, recalled
from spanledger.collector.count.postings import POSTING, postings
from spanledger.collector.count.resolve import CONTENT, resolve
from spanledger.ledger.frame import COLUMNS
from spanledger.ledger.schema import GROUPS, MEASURES

Rows = npt.NDArray[np.int64]

_MONEY = tuple(c.name for c in GROUPS["money"] if c.name not in ("flags", "reported_cost_usd"))


class Older(Protocol):
    """Evidence that memory has let go of, looked up in the ledger."""

    def find(self, late: pl.DataFrame, *, since: datetime, horizon: int) -> pl.DataFrame:
        """Entries (`COLUMNS`) that occurred since then and share a trace, an id or a fingerprint with these records."""
        ...

    def named(self, records: pl.DataFrame, *, since: datetime, came: tuple[datetime, datetime] | None) -> pl.DataFrame:
        """Entries that occurred since then, `came` between those moments, and bear a provider's id of one of these records."""
        ...

    def ids(self, *, since: datetime, until: datetime) -> Iterator[pl.DataFrame]:
        """`response_id`, `request_id` and `arrived` (microseconds) of entries recorded in that time, the newest first."""
        ...

    def entries(self, entry_ids: pl.Series) -> pl.DataFrame:
        """The entries of these ids."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """How calls are told apart; the defaults suit everyone who does not know better."""

    #: records of evidence kept in memory
    rows: int = 60_000
    #: how long after its evidence came a call can still be told to be a duplicate
    remember: timedelta = timedelta(hours=24)
    #: how long a sum (an agent's span, a metric) waits for the calls it sums up
    quiet: timedelta = timedelta(minutes=2)
    #: take two records of one emitter for one call if usage, model and time agree
    fingerprint: bool = True
    #: provider's ids that are known of the calls of that time: up to five bytes each in memory, eight on disk
    known_ids: int = 25_000_000


class CountOnce:
    """Keeps recent evidence in bounded memory. Not safe to use from two threads at once.

    With a `folder`, what it knows survives a restart: give it the `mark` up to which the ledger is written.
    """

    def __init__(
        self, counting: Counting | None = None, *, folder: Path | None = None, mark: int = 0, older: Older | None = None
    ) -> None:
        self._counting = counting or Counting()
        self._older = older
        answered = Answered(folder / "ids" if folder is not None else None, most=self._counting.known_ids)
        self.memory = Memory(rows=self._counting.rows, kept_for=self._counting.remember, answered=answered)
        self._files = EvidenceFiles(folder) if folder is not None else None
        if self._files is not None:
            self._files.read(self.memory, mark)
            self.memory.let_go(0)
        self._waiting = self._sums(np.arange(self.memory.evidence.height))
        self._unwritten = pl.DataFrame()
        #: until when (microseconds) the ids of what was let go before this start are known; None once all are
        known = answered.read() or 0
        self._ids_until = None if self.memory.horizon is None else known

    def count(self, evidence: pl.DataFrame, *, now: datetime, mark: int = 0) -> pl.DataFrame:
        """Entries without money for this evidence: calls, duplicates and reversals; `now` is when they are recorded."""
        arrived = moment(now)
        kept = in_columns(evidence.with_columns(pl.lit(arrived, dtype=pl.Int64).alias("arrived")), KEPT)
        # First of all, so that what is delivered again is known from the ledger as what became of it.
        narrow = narrowed(kept)
        self.memory.heard.note(kept, narrow)
        self._recall(kept, narrow, now, arriving=True)
        new = self.memory.add(kept, narrow)
        if not len(new):
            return pl.DataFrame(schema=COLUMNS)
        self._waiting = pl.concat([self._waiting, self._sums(new)])
        entries = self._entries(new, now)
        self.memory.remember(entries)
        if self._files is not None:
            rows, plain, repeated = entries["row"].to_numpy(), self.memory.arrays["plain"], np.zeros(len(new), dtype=bool)
            again = (entries["kind"] == "duplicate").to_numpy() & (rows >= new[0])
            repeated[rows[again] - new[0]] = True
            told = entries[[name for name in (*WRITTEN, "row") if name in entries.columns]]
            told = told[pl.Series(np.flatnonzero(~plain[rows] & ~again))]
            evidence = self.memory.evidence.told(new).with_columns(pl.Series(PLAIN, plain[new]), pl.Series(REPEATED, repeated))
            self._files.write(mark, evidence, self._written(told))
        self.memory.let_go(arrived)
        return entries[list(COLUMNS)]

    def due(self, *, now: datetime) -> pl.DataFrame:
        """Entries that only the passing of time decides: an aggregate below which nothing was counted, a metric alone."""
        ripe = self._ripe(now)
        if not (self._waiting["arrived"] <= ripe).any():
            self.memory.ripe = ripe
            return pl.DataFrame(schema=COLUMNS)
        ids = self._waiting.filter(pl.col("arrived") <= ripe)["entry_id"]
        self._waiting = self._waiting.filter(pl.col("arrived") > ripe)
        rows = self.memory.rows_of(ids)
        rows = rows[rows >= 0]
        self._recall(self.memory.evidence.take(rows), self.memory.seen(rows).narrow, now, arriving=False)
        entries = self._entries(rows, now)
        self.memory.ripe = ripe
        if self._older is not None and entries.height:
            # After a crash between a posting and its being noted down, the ledger knows better.
            known = self._older.entries(entries["entry_id"]).select("entry_id")
            self.memory.remember(entries.join(known, on="entry_id", how="semi"))
            entries = entries.join(known, on="entry_id", how="anti", maintain_order="left")
        self._unwritten = self._written(entries)
        self.memory.remember(entries)
        return entries[list(COLUMNS)]

    def posted(self, mark: int, entries: pl.DataFrame | None = None) -> None:
        """The ledger has committed everything up to this mark, `entries` as priced among it."""
        if entries is not None and entries.height:
            self.memory.priced(entries)
        if self._files is not None:
            if self._unwritten.height:
                self._files.write(mark, pl.DataFrame(), self._unwritten)
            self._files.merge(self.memory, mark)
        self._unwritten = pl.DataFrame()

    def _entries(self, new: Rows, now: datetime) -> pl.DataFrame:
        """Postings with `row`, the record they are posted for."""
        if not len(new):
            return pl.DataFrame(schema={**POSTING, "row": pl.Int64})
        memory = self.memory
        rows = memory.touched(new, fingerprint=self._counting.fingerprint)
        seen, past = memory.seen(rows), memory.past(rows)
        seen.narrow["role"][past] = PAST
        evidence = self._with_heard(seen)
        settled = evidence.narrow["arrived"] <= self._ripe(now)
        verdicts = resolve(evidence, settled=settled, fingerprint=self._counting.fingerprint)
        standing = np.where(past, -1, memory.standing[rows])
        at = np.flatnonzero(standing >= 0)
        posted = memory.posted.take(standing[at], ["entry_id", *CONTENT]).with_columns(pl.Series("at", at))

        def whole(places: Rows) -> pl.DataFrame:
            known = evidence.take(at[places], FROM_EVIDENCE).get_columns()
            return memory.posted.take(standing[at[places]]).with_columns(pl.Series("at", at[places]), *known)

        version = np.concatenate([memory.version[rows], np.zeros(evidence.height - len(rows), dtype=np.int64)])
        entries = self._with_money(postings(verdicts, posted, whole, version, now))
        fresh = np.zeros(memory.evidence.height, dtype=bool)
        fresh[new] = True
        memory.arrays["plain"][rows] = fresh[rows] & verdicts.plain[: len(rows)] & (memory.version[rows] == 0)
        return entries.with_columns(pl.Series("row", rows[entries["at"].to_numpy()]))

    def _ripe(self, now: datetime) -> int:
        """What waits and came up to this moment (microseconds) has waited long enough, or as long as there is room for it."""
        at = moment(now)
        early = [moment for moment in (self.memory.ripe, self.memory.overdue()) if moment < at]  # clocks jump
        return max(at - int(self._counting.quiet.total_seconds() * 1e6), *early, 0)

    def _written(self, entries: pl.DataFrame) -> pl.DataFrame:
        return entries.with_columns(self.memory.evidence.column("entry_id", entries["row"].to_numpy()).alias("base_id"))

    def _sums(self, rows: Rows) -> pl.DataFrame:
        """Of these records, those that wait for what they sum up."""
        role, said = self.memory.arrays["role"][rows], self.memory.arrays["said"][rows]
        waiting = rows[(role == METRIC) | (((role == AGENT) | (role == SPAN)) & said)]
        return self.memory.evidence.take(waiting, ["entry_id", "arrived"])

    def _with_heard(self, evidence: Evidence) -> Evidence:
        """Points of metrics must know of calls that their emitter sent earlier than memory reaches."""
        points = np.flatnonzero(evidence.narrow["role"] == METRIC)
        if not len(points):
            return evidence
        metered = evidence.take(points, ["emitter"])["emitter"].unique().drop_nulls().to_list()
        heard = [emitter for emitter in metered if emitter in self.memory.heard.last]
        if not heard:
            return evidence
        # The call that ended last stands for what the points say, where memory still has one.
        memory = self.memory
        here = np.flatnonzero(among(memory.arrays["emitter"], keys_of(pl.Series(heard))) & (memory.standing >= 0))
        spoken = memory.evidence.take(here, ["emitter", "ended"])
        spoken = spoken.with_columns(memory.posted.take(memory.standing[here], ["entry_id"])["entry_id"])
        last = spoken.sort("ended", "entry_id").unique("emitter", keep="last").select("emitter", "entry_id")
        known = pl.DataFrame({"emitter": heard, "role": "heard", "signal": "metrics"}).join(last, on="emitter", how="left")
        return evidence.beside(in_columns(known, KEPT))

    def _with_money(self, entries: pl.DataFrame) -> pl.DataFrame:
        """Reversals take back the money that was posted, which the ledger knows where memory does not."""
        unknown = (entries["kind"] == "reversal") & entries["cost_state"].is_null()
        if self._older is None or not unknown.any():
            return entries
        known = self._older.entries(entries.filter(unknown)["stands_for"]).unique("entry_id")
        money = known.select(pl.col("entry_id").alias("stands_for"), *_MONEY)
        joined = entries.join(money, on="stands_for", how="left", suffix="_posted", maintain_order="left")
        missing = unknown & joined["cost_state_posted"].is_not_null()
        given = [
            pl.when(missing)
            .then(-pl.col(f"{name}_posted") if name in MEASURES else pl.col(f"{name}_posted"))
            .otherwise(name)
            .alias(name)
            for name in _MONEY
        ]
        return joined.with_columns(given).select(entries.columns)

    def _recall(self, evidence: pl.DataFrame, narrow: Narrow, now: datetime, *, arriving: bool) -> None:
        """Put back into memory what the ledger knows of records that may have begun before memory does.

        Only those can belong to evidence that is no longer here: whatever a record describes ran while it ran, unless an id says
        otherwise. `arriving` records that are here already say nothing new.
        """
        if self._older is None or self.memory.horizon is None:
            return
        self._learn_ids(now)
        asked = self.memory.unknown_likes(narrow, arriving=arriving)
        named, came = self._named(evidence, narrow) if arriving else (asked[:0], None)
        since, parts = now - self._counting.remember, []
        late = evidence[pl.Series(np.concatenate([asked, named]))]
        if len(asked):
            parts.append(self._older.find(late[: len(asked)], since=since, horizon=self.memory.horizon))
        if len(named):
            ran = since if came is None else max(since, came[0] - LONGEST_CALL)
            parts.append(self._older.named(late[len(asked) :], since=ran, came=came))
        found = pl.concat(parts).unique("entry_id", keep="first", maintain_order=True) if parts else late[:0]
        if not found.height:
            return
        described, posted, past = recalled(found, late)
        before = self.memory.evidence.height
        self.memory.add(described)
        for entries in (past, posted):
            # Records that were here already are known with what was posted for them.
            rows = self.memory.rows_of(entries["base_id"])
            self.memory.remember(entries.with_columns(pl.Series("row", rows)).filter(pl.Series(rows >= before)))

    def _named(self, evidence: pl.DataFrame, narrow: Narrow) -> tuple[Rows, tuple[datetime, datetime] | None]:
        """`Memory.named_likes` whose ids prove something, and when their like came."""
        named, came = self.memory.named_likes(narrow)
        if not len(named):
            return named, None
        ids = evidence[["response_id", "request_id"]][pl.Series(named)]
        prove = [ids[name].is_not_null().to_numpy() & ~weak_ids(ids[name]) for name in ids.columns]
        window = None if came is None else (_datetime(came[0]), _datetime(came[1]))
        return named[prove[0] | prove[1]], window

    def _learn_ids(self, now: datetime) -> None:
        """Once after a start: what the ledger knows of ids, and no file does."""
        if self._ids_until is None or self._older is None:
            return
        answered, since = self.memory.answered, max(_datetime(self._ids_until), now - self._counting.remember)
        self._ids_until = None
        for told in self._older.ids(since=since, until=now):
            if answered.size >= self._counting.known_ids:
                break
            answered.learn(told)
        answered.flush()


def _datetime(micros: int) -> datetime:
    return datetime.fromtimestamp(micros / 1e6, UTC)
