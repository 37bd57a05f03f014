"""Recent evidence, kept so that what comes later can be told to belong to it; bounded.

Bound: `rows` records (60,000 by default) of about 1 kB, what was posted for them included. At 200 calls a second of one
record each that is the last five minutes, at 5,000 the last twelve seconds; older evidence is looked up in the ledger
(`older.py`).
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from spanledger.collector.grouping import SLACK_MICROS, fingerprints, voice
from spanledger.collector.recognise import EVIDENCE
from spanledger.ledger.frame import COLUMNS
from spanledger.ledger.schema import GROUPS

Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

#: Columns that only an entry has, not its evidence.
_OF_ENTRIES = {
    "kind", "reason", "rule", "stands_for", "first_attempt", "recorded_at", "day",
    *(c.name for c in GROUPS["claimed"]), *(c.name for c in GROUPS["money"] if c.name not in ("flags", "reported_cost_usd")),
}  # fmt: skip

#: A record of evidence, with when it came in microseconds and keys by which its like are found: hashes, 0 for none.
#: They are made anew when evidence is read from disk.
KEPT: dict[str, Any] = {**{name: kind for name, kind in EVIDENCE.items() if name not in _OF_ENTRIES}, "arrived": pl.Int64}
KEYS = ("entry_key", "trace_key", "span_key", "parent_key", "response_key", "request_key", "emitter_key")

#: Columns of a posting that its record of evidence has as well, or that only a new entry needs.
FROM_EVIDENCE = (
    "trace_id", "span_id", "parent_span_id", "response_id", "request_id", "signal", "dialect", "scope_name", "scope_version",
    "attempt", "occurred_at", "duration_seconds", "time_to_first_token_seconds", "server_address", "finish_reason",
    "error_type", "cut_short", "tokens_estimated", "batch", "streamed", "flags",
)  # fmt: skip
_NOT_POSTED = {
    *FROM_EVIDENCE, "kind", "reason", "rule", "stands_for", "first_attempt", "recorded_at", "day", "attributes",
    *(c.name for c in GROUPS["claimed"]),
}  # fmt: skip

#: What was posted for a record as a call that still stands; with its evidence, enough to take it back.
POSTED: dict[str, Any] = {name: kind for name, kind in COLUMNS.items() if name not in _NOT_POSTED}


@dataclass(slots=True)
class Memory:
    """Rows of `evidence`, `version` (how often each was posted) and `standing` (its row in `posted`, or -1) go together."""

    rows: int = 60_000
    kept_for: timedelta = timedelta(hours=24)
    evidence: pl.DataFrame = field(default_factory=lambda: keyed(pl.DataFrame(schema=KEPT)))
    version: Rows = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    standing: Rows = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    posted: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=POSTED))
    #: emitters that sent calls, with when last
    heard: dict[str, int] = field(default_factory=dict)
    #: emitter → the voices in which it sent calls
    voices: dict[str, set[str]] = field(default_factory=dict)
    #: evidence that came before this is no longer here; None while nothing was ever let go
    horizon: int | None = None

    def add(self, evidence: pl.DataFrame) -> Rows:
        """Keep records that are not here yet; gives their rows."""
        new = keyed(evidence).unique("entry_key", keep="first", maintain_order=True)
        known = new["entry_key"].is_in(self.evidence["entry_key"].implode())
        if known.any():
            new = new.filter(~known)
        begin = self.evidence.height
        if not new.height:
            return np.empty(0, dtype=np.int64)
        self.evidence = pl.concat([self.evidence, new])
        if self.evidence.n_chunks() > 16:
            self.evidence = self.evidence.rechunk()
        nothing = np.zeros(new.height, dtype=np.int64)
        self.version, self.standing = np.concatenate([self.version, nothing]), np.concatenate([self.standing, nothing - 1])
        self._hear(new)
        return np.arange(begin, begin + new.height)

    def _hear(self, new: pl.DataFrame) -> None:
        speaking = pl.when(pl.col("role") == "heard").then("name").otherwise(voice()).alias("voice")
        narrow = new.select("role", "name", "signal", "scope_name", "emitter", "arrived")
        leaves = narrow.filter(pl.col("role").is_in(["leaf", "heard"]))
        for emitter, spoken, arrived in leaves.select("emitter", speaking, "arrived").unique(["emitter", "voice"]).iter_rows():
            if emitter is not None:
                self.heard[emitter] = max(arrived, self.heard.get(emitter, 0))
                self.voices.setdefault(emitter, set()).add(spoken or "")

    def touched(self, new: Rows, *, fingerprint: bool) -> Rows:
        """The rows of all kept records that may belong to one call with any of these."""
        keys = {name: self.evidence[name] for name in KEYS}
        role = self.evidence["role"]
        metered = (role == "metric").fill_null(False).to_numpy()
        leaf = (role == "leaf").fill_null(False).to_numpy()
        talkative = [emitter for emitter, voices in self.voices.items() if len(voices) > 1] if fingerprint else []
        talking = (self.evidence["emitter"].is_in(talkative).fill_null(False).to_numpy() & leaf) if talkative else None
        inside = np.zeros(self.evidence.height, dtype=bool)
        inside[new] = True
        frontier = new
        for _ in range(6):
            for name in ("trace_key", "response_key", "request_key"):
                values = keys[name].gather(pl.Series(frontier)).unique()
                values = values.filter(values != 0)
                if values.len():
                    inside |= keys[name].is_in(values.implode()).to_numpy()
            if talking is not None and talking[frontier].any():
                self._same_print(frontier[talking[frontier]], talking, inside)
            if metered.any():
                concerned = frontier[leaf[frontier] | metered[frontier]]
                emitters = keys["emitter_key"].gather(pl.Series(concerned)).unique()
                inside |= metered & keys["emitter_key"].is_in(emitters.implode()).to_numpy()
            reached = np.flatnonzero(inside)
            if len(reached) == len(frontier):
                break
            frontier = reached
        return np.flatnonzero(inside)

    def _same_print(self, wanted: Rows, talking: Flags, inside: Flags) -> None:
        """Mark calls of emitters with several voices, of the same input and at about the same time as one of these."""
        narrow = self.evidence.select("emitter_key", "input_tokens", "started", "ended")
        ours = narrow[wanted]
        first, last = ours["started"].to_numpy().min() - SLACK_MICROS, ours["ended"].to_numpy().max() + SLACK_MICROS
        around = ((narrow["started"] <= last) & (narrow["ended"] >= first)).fill_null(False).to_numpy()
        candidates = np.flatnonzero(talking & around)
        hits = _prints(narrow[candidates], candidates).join(
            _prints(ours, wanted).select("emitter_key", "input", "bucket").unique(),
            on=["emitter_key", "input", "bucket"],
            how="semi",
        )
        inside[hits["row"].to_numpy()] = True

    def remember(self, entries: pl.DataFrame) -> None:
        """Take over what is about to be posted; its column `row` says for which record."""
        if not entries.height:
            return
        undone = entries.filter(pl.col("kind") == "reversal")["row"].to_numpy()
        self.standing[undone] = -1
        calls = entries.filter(pl.col("kind") == "call")
        self.standing[calls["row"].to_numpy()] = self.posted.height + np.arange(calls.height)
        np.add.at(self.version, entries.filter(pl.col("kind") != "reversal")["row"].to_numpy(), 1)
        self.posted = pl.concat([self.posted, calls.select(list(POSTED))])
        if self.posted.n_chunks() > 16:
            self.posted = self.posted.rechunk()

    def rows_of(self, entry_ids: pl.Series) -> Rows:
        """The rows of these records; -1 for those that are not here."""
        places = pl.DataFrame({"entry_id": self.evidence["entry_id"], "row": np.arange(self.evidence.height)})
        found = pl.DataFrame({"entry_id": entry_ids}).join(places, on="entry_id", how="left", maintain_order="left")
        return found["row"].fill_null(-1).to_numpy()

    def priced(self, entries: pl.DataFrame) -> None:
        """The money of calls that were posted just now."""
        money = [
            c.name for c in GROUPS["money"] if c.name in entries.columns and c.name in POSTED and c.name != "reported_cost_usd"
        ]
        calls = entries.filter(pl.col("kind") == "call").select("entry_id", *money)
        # What was posted just now stands at the end.
        begin = max(0, self.posted.height - calls.height)
        recent = self.posted[begin:]
        if not calls.height or not recent.height:
            return
        given = recent.select("entry_id").join(calls, on="entry_id", how="left", maintain_order="left")
        known = given.select(pl.col("entry_id").is_in(calls["entry_id"].implode())).to_series()
        updated = recent.with_columns(given[name].cast(POSTED[name]).zip_with(known, recent[name]).alias(name) for name in money)
        self.posted = pl.concat([self.posted[:begin], updated])

    def let_go(self, now: int) -> None:
        """Drop what is beyond the bounds: the oldest records, and with them what was posted for them."""
        over = self.evidence.height - self.rows
        old = now - int(self.kept_for.total_seconds() * 1e6)
        if self.evidence.is_empty() or (over < self.rows // 2 and int(self.evidence["arrived"][0]) > old - 3_600_000_000):
            return
        # The last point of each series is what the next one is measured from.
        last_point = (pl.col("role") == "metric") & (pl.col("ended") == pl.col("ended").max().over("series", "name"))
        keep = (pl.int_range(pl.len()) >= max(over, 0)) & (pl.col("arrived") >= old) | last_point.fill_null(False)
        kept = self.evidence.select(keep.alias("k"))["k"].to_numpy()
        if kept.all():
            return
        gone = self.evidence["arrived"].to_numpy()[~kept].max()
        self.forgot(int(gone))
        self.evidence = self.evidence.filter(pl.Series(kept)).rechunk()
        self.version, self.standing = self.version[kept], self.standing[kept]
        here = np.flatnonzero(self.standing >= 0)
        self.posted = self.posted[self.standing[here]].rechunk()
        self.standing[here] = np.arange(len(here))
        self.heard = dict(sorted(self.heard.items(), key=lambda each: each[1])[-100_000:])
        self.voices = {emitter: voices for emitter, voices in self.voices.items() if emitter in self.heard}

    def forgot(self, before: int) -> None:
        """Evidence that came up to this moment (microseconds since 1970) may no longer be here."""
        self.horizon = max(before, self.horizon or 0)


def _prints(calls: pl.DataFrame, rows: Rows) -> pl.DataFrame:
    named = calls.with_columns(pl.Series("row", rows))
    return named.select("row", "emitter_key", pl.col("input_tokens").fill_null(-1).alias("input")).join(
        fingerprints(named), on="row"
    )


def keyed(evidence: pl.DataFrame) -> pl.DataFrame:
    """The evidence with its `KEYS`."""
    above = pl.when(pl.col("signal") == "logs").then("span_id").otherwise("parent_span_id")
    own = pl.when(pl.col("signal") == "traces").then("span_id")

    def key(name: str, *parts: str | pl.Expr) -> pl.Expr:
        columns = [pl.col(part) if isinstance(part, str) else part for part in parts]
        there = pl.all_horizontal(column.is_not_null() for column in columns)
        hashed = (
            columns[0].hash(7) if len(columns) == 1 else pl.struct(*(c.alias(str(at)) for at, c in enumerate(columns))).hash(7)
        )
        return pl.when(there).then(hashed).otherwise(pl.lit(0, dtype=pl.UInt64)).alias(name)

    return evidence.with_columns(
        key("entry_key", "entry_id"),
        key("trace_key", "trace_id"),
        key("span_key", "trace_id", own),
        key("parent_key", "trace_id", above),
        key("response_key", "response_id"),
        key("request_key", "request_id"),
        key("emitter_key", "emitter"),
    )


def as_kept(frame: pl.DataFrame, schema: dict[str, Any]) -> pl.DataFrame:
    """The frame in these columns; those it lacks are null."""
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(kind).alias(name) for name, kind in schema.items()
    )


def moment(now: datetime) -> int:
    """Microseconds since 1970."""
    return int(now.timestamp() * 1e6)
