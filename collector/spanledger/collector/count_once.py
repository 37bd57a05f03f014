"""Turn evidence into entries: every call once, whatever the order in which its spans, logs and metrics arrive.

Each batch is laid beside what memory (and, for late comers, the ledger) holds of the same traces, ids and fingerprints;
`resolve` says what all of it means; `postings` are the entries that bring the ledger there.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import polars as pl

from spanledger.collector.memory import KEPT, Memory, moment
from spanledger.collector.older import recalled
from spanledger.collector.postings import POSTED, postings
from spanledger.collector.resolve import resolve
from spanledger.ledger.frame import COLUMNS
from spanledger.ledger.schema import GROUPS, MEASURES


class Older(Protocol):
    """Evidence that memory has let go of, looked up in the ledger."""

    def find(self, late: pl.DataFrame, *, since: datetime) -> pl.DataFrame:
        """Entries (`COLUMNS`) that occurred since then and share a trace, response id, request id or fingerprint with these records."""
        ...

    def entries(self, entry_ids: pl.Series) -> pl.DataFrame:
        """The entries of these ids."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """How calls are told apart; the defaults suit everyone who does not know better."""

    #: records of evidence kept in memory
    rows: int = 400_000
    #: how long after its evidence came a call can still be told to be a duplicate
    remember: timedelta = timedelta(hours=24)
    #: how long a sum (an agent's span, a metric) waits for the calls it sums up
    quiet: timedelta = timedelta(minutes=2)
    #: take two records of one emitter for one call if usage, model and time agree
    fingerprint: bool = True


class CountOnce:
    """Keeps recent evidence in bounded memory. Not safe to use from two threads at once.

    With a `folder`, what it knows survives a restart: give it the `mark` up to which the ledger is written.
    """

    def __init__(
        self, counting: Counting | None = None, *, folder: Path | None = None, mark: int = 0, older: Older | None = None
    ) -> None:
        self._counting = counting or Counting()
        self._older = older
        self._memory = Memory(rows=self._counting.rows, kept_for=self._counting.remember, folder=folder)
        self._memory.read(mark)
        self._waiting = self._sums(self._memory.evidence)
        self._overdue = pl.DataFrame(schema=POSTED)

    def count(self, evidence: pl.DataFrame, *, now: datetime, mark: int = 0) -> pl.DataFrame:
        """Entries without money for this evidence: calls, duplicates and reversals; `now` is when they are recorded."""
        arrived = moment(now)
        came = evidence.with_columns(pl.lit(arrived).alias("arrived")).select(
            (pl.col(name) if name in evidence.columns or name == "arrived" else pl.lit(None)).cast(kind).alias(name)
            for name, kind in KEPT.items()
        )
        new = self._memory.add(came)
        if not new.height:
            return pl.DataFrame(schema=COLUMNS)
        self._waiting = pl.concat([self._waiting, self._sums(new)])
        entries = self._entries(new, now)
        self._memory.write(mark, new, entries)
        self._memory.remember(entries)
        self._memory.let_go(arrived)
        return entries.drop("base_id")

    def due(self, *, now: datetime) -> pl.DataFrame:
        """Entries that only the passing of time decides: an aggregate below which nothing was counted, a metric alone."""
        ripe = moment(now) - int(self._counting.quiet.total_seconds() * 1e6)
        if not self._waiting.height or int(self._waiting["arrived"].min()) > ripe:  # type: ignore[arg-type]
            return pl.DataFrame(schema=COLUMNS)
        ids = self._waiting.filter(pl.col("arrived") <= ripe)
        self._waiting = self._waiting.filter(pl.col("arrived") > ripe)
        rows = self._memory.evidence.join(ids.select("entry_id"), on="entry_id", how="semi").select(list(KEPT))
        entries = self._entries(rows, now)
        if self._older is not None and entries.height:
            # After a crash between a posting and its being noted down, the ledger knows better.
            known = self._older.entries(entries["entry_id"])
            self._memory.remember(entries.join(known.select("entry_id"), on="entry_id", how="semi"))
            entries = entries.join(known.select("entry_id"), on="entry_id", how="anti", maintain_order="left")
        self._overdue = pl.concat([self._overdue, entries])
        self._memory.remember(entries)
        return entries.drop("base_id")

    def posted(self, mark: int, entries: pl.DataFrame | None = None) -> None:
        """The ledger has committed everything up to this mark, `entries` as priced among it."""
        if self._overdue.height:
            self._memory.write(mark, pl.DataFrame(schema=KEPT), self._overdue)
            self._overdue = self._overdue.clear()
        if entries is not None and entries.height:
            self._memory.priced(entries)
        self._memory.merge_files(mark)

    def _entries(self, new: pl.DataFrame, now: datetime) -> pl.DataFrame:
        late = self._late(new, now)
        if late.height:
            self._recall(late, now)
        evidence = self._memory.touched(new, fingerprint=self._counting.fingerprint)
        evidence = self._with_heard(evidence)
        if not evidence.height:
            return pl.DataFrame(schema=POSTED)
        quiet = int(self._counting.quiet.total_seconds() * 1e6)
        settled = evidence["arrived"].to_numpy() <= moment(now) - quiet
        verdicts = resolve(evidence, settled=settled, fingerprint=self._counting.fingerprint)
        posted, history = self._memory.of(evidence)
        return self._with_money(postings(evidence, verdicts, posted, history, now))

    def _with_heard(self, evidence: pl.DataFrame) -> pl.DataFrame:
        """Points of metrics must know of calls that their emitter sent earlier than memory reaches."""
        metered = evidence.filter(pl.col("role") == "metric")["emitter"].unique().drop_nulls().to_list()
        heard = [emitter for emitter in metered if emitter in self._memory.heard]
        if not heard:
            return evidence
        return pl.concat(
            [evidence, pl.DataFrame({"emitter": heard, "role": "heard", "entry_id": [f"heard/{e}" for e in heard]})],
            how="diagonal",
        )

    def _with_money(self, entries: pl.DataFrame) -> pl.DataFrame:
        """Reversals take back the money that was posted, which the ledger knows where memory does not."""
        unknown = (entries["kind"] == "reversal") & entries["cost_state"].is_null()
        if self._older is None or not unknown.any():
            return entries
        known = self._older.entries(entries.filter(unknown)["stands_for"]).unique("entry_id").rename({"entry_id": "stands_for"})
        joined = entries.join(known.select("stands_for", *_MONEY), on="stands_for", how="left", suffix="_posted", maintain_order="left")
        missing = pl.Series(unknown) & pl.col("cost_state_posted").is_not_null()
        money = [
            pl.when(missing).then(-pl.col(f"{name}_posted") if name in MEASURES else pl.col(f"{name}_posted")).otherwise(name).alias(name) for name in _MONEY
        ]
        return joined.with_columns(money).select(entries.columns)

    def _late(self, new: pl.DataFrame, now: datetime) -> pl.DataFrame:
        """Records of what may have begun before memory does: only those can belong to evidence that is no longer here."""
        horizon = self._memory.horizon
        if self._older is None or horizon is None:
            return new.clear()
        return new.filter((pl.col("role") != "link") & (pl.col("started") < horizon + _SKEW))

    def _recall(self, late: pl.DataFrame, now: datetime) -> None:
        """Put back into memory what the ledger knows of these."""
        assert self._older is not None  # noqa: S101
        found = self._older.find(late, since=now - self._counting.remember)
        if found.height:
            self._memory.recall(*recalled(found, late))

    def _sums(self, evidence: pl.DataFrame) -> pl.DataFrame:
        waits = (pl.col("role") == "metric") | (pl.col("role").is_in(["agent", "span"]) & pl.col("said").fill_null(False))
        return evidence.filter(waits).select("entry_id", "arrived")


_MONEY = tuple(c.name for c in GROUPS["money"] if c.name not in ("flags", "reported_cost_usd"))

#: By how much the clocks of emitters may differ from this one's.
_SKEW = 60_000_000
