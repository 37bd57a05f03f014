"""Recent evidence, kept so that what comes later can be told to belong to it; bounded, and written down for a restart.

Bound: `rows` records (400,000 by default). A record takes about 1 kB here, so 400 MB at most; at 5,000 calls a second
of one record each that is the last 80 seconds. Older evidence is looked up in the ledger (`older.py`).
"""

import logging
import os
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from spanledger.collector.grouping import fingerprints, voice
from spanledger.collector.postings import HISTORY, POSTED
from spanledger.collector.recognise import EVIDENCE

logger = logging.getLogger(__name__)

#: A record of evidence with when it came, in microseconds.
KEPT: dict[str, Any] = {**EVIDENCE, "arrived": pl.Int64}
_KEYS = {"trace_key": pl.UInt64, "response_key": pl.UInt64, "request_key": pl.UInt64}
_SEGMENT = re.compile(r"(\d{20})-(\d{6})\.(evidence|posted)\.arrow")
#: So many files are merged into one.
_MOST_SEGMENTS = 128


@dataclass(slots=True)
class Memory:
    """Not safe to use from two threads at once."""

    rows: int = 400_000
    kept_for: timedelta = timedelta(hours=24)
    folder: Path | None = None
    evidence: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema={**KEPT, **_KEYS}))
    posted: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=POSTED))
    history: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=HISTORY))
    #: emitters that sent calls, with when last
    heard: dict[str, int] = field(default_factory=dict)
    #: emitter → the scopes and signals in which it sent calls
    voices: dict[str, set[str]] = field(default_factory=dict)
    #: evidence that came before this is no longer here; None while nothing was ever let go
    horizon: int | None = None
    _number: int = 0

    def add(self, evidence: pl.DataFrame) -> pl.DataFrame:
        """Keep records that are not here yet; gives those back."""
        new = (
            evidence.unique("entry_id", keep="first", maintain_order=True)
            if evidence["entry_id"].null_count() == 0
            else _without_twins(evidence)
        )
        new = _missing_from(new, self.evidence)
        self.evidence = pl.concat([self.evidence, _keyed(new)])
        speaking = pl.when(pl.col("role") == "heard").then("name").otherwise(voice()).alias("voice")
        leaves = new.filter(pl.col("role").is_in(["leaf", "heard"])).select("emitter", speaking, "arrived")
        for emitter, spoken, arrived in leaves.unique(["emitter", "voice"]).iter_rows():
            if emitter is not None:
                self.heard[emitter] = max(arrived, self.heard.get(emitter, 0))
                self.voices.setdefault(emitter, set()).add(spoken or "")
        return new

    def touched(self, new: pl.DataFrame, *, fingerprint: bool) -> pl.DataFrame:
        """All kept records that may belong to one call with any of these."""
        if not new.height:
            return self.evidence.clear()
        kept = self.evidence
        inside = kept["entry_id"].is_in(new["entry_id"].drop_nulls().implode()).fill_null(False).to_numpy().copy()
        links = new.filter(pl.col("role") == "link")
        frontier = kept.filter(pl.Series(inside))
        if links.height:
            inside |= kept["trace_key"].is_in(_hashed(links["trace_id"]).unique().implode()).to_numpy()
            frontier = kept.filter(pl.Series(inside))
        talkative = [emitter for emitter, voices in self.voices.items() if len(voices) > 1] if fingerprint else []
        metered = kept["role"] == "metric"
        for _ in range(4):
            before = inside.sum()
            for key in _KEYS:
                values = frontier[key].unique()
                inside |= (kept[key].is_in(values.filter(values != 0).implode())).to_numpy()
            if talkative:
                inside |= self._same_print(frontier, talkative)
            if metered.any():
                emitters = frontier.filter(pl.col("role").is_in(["leaf", "metric"]))["emitter"].unique()
                inside |= (metered & kept["emitter"].is_in(emitters.implode()).fill_null(False)).to_numpy()
            if inside.sum() == before:
                break
            frontier = kept.filter(pl.Series(inside))
        return kept.filter(pl.Series(inside)).drop(list(_KEYS))

    def _same_print(self, frontier: pl.DataFrame, talkative: list[str]) -> npt.NDArray[np.bool_]:
        """Calls of emitters with several voices, of the same input and about the same time as one of these."""
        wanted = frontier.filter((pl.col("role") == "leaf") & pl.col("emitter").is_in(talkative))
        inside = np.zeros(self.evidence.height, dtype=bool)
        if not wanted.height:
            return inside
        first, last = int(wanted["started"].min()) - 600_000_000, int(wanted["ended"].max()) + 600_000_000  # type: ignore[arg-type]
        candidates = self.evidence.with_row_index("row").filter(
            (pl.col("role") == "leaf")
            & (pl.col("started") <= last)
            & (pl.col("ended") >= first)
            & pl.col("emitter").is_in(wanted["emitter"].unique().implode())
        )
        prints = _prints(candidates)
        hits = prints.join(
            _prints(wanted.with_row_index("row")).select("emitter", "input", "bucket").unique(),
            on=["emitter", "input", "bucket"],
            how="semi",
        )
        inside[hits["row"].unique().to_numpy()] = True
        return inside

    def of(self, evidence: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """What was posted for these records, and how often."""
        ids = evidence.select(pl.col("entry_id").alias("base_id"))
        return self.posted.join(ids, on="base_id", how="semi"), self.history.join(ids, on="base_id", how="semi")

    def recall(self, evidence: pl.DataFrame, posted: pl.DataFrame, history: pl.DataFrame) -> None:
        """Take in what was found in the ledger, where it is not here."""
        known = self.evidence.select("entry_id")
        new = evidence.join(known, on="entry_id", how="anti")
        bases = new.select(pl.col("entry_id").alias("base_id"))
        self.posted = pl.concat([self.posted, posted.join(bases, on="base_id", how="semi")])
        self.history = pl.concat([self.history, history.join(bases, on="base_id", how="semi")])
        self.add(new)

    def remember(self, entries: pl.DataFrame) -> None:
        """Take over what is about to be posted."""
        if not entries.height:
            return
        reversed_ids = entries.filter(pl.col("kind") == "reversal").select(pl.col("stands_for").alias("entry_id"))
        self.posted = pl.concat(
            [self.posted.join(reversed_ids, on="entry_id", how="anti"), entries.filter(pl.col("kind") == "call")]
        )
        told = entries.filter(pl.col("kind") != "reversal").group_by("base_id").agg(pl.len().cast(pl.Int64).alias("version"))
        both = pl.concat([self.history, told])
        self.history = (
            both if not _meet(self.history, told) else both.group_by("base_id", maintain_order=True).agg(pl.col("version").sum())
        )

    def priced(self, entries: pl.DataFrame) -> None:
        """The money of calls that were posted."""
        calls = entries.filter(pl.col("kind") == "call")
        if not calls.height:
            return
        given = calls.select(name for name in POSTED if name in calls.columns and name != "base_id")
        bases = self.posted.select("entry_id", "base_id")
        known = given.join(bases, on="entry_id", how="inner")
        if known.height:
            rest = self.posted.join(known.select("entry_id"), on="entry_id", how="anti")
            self.posted = pl.concat([rest, _as(known, POSTED)])

    def let_go(self, now: int) -> None:
        """Drop what is beyond the bounds: the oldest records, and with them what was posted for them."""
        over = self.evidence.height - self.rows
        old = now - int(self.kept_for.total_seconds() * 1e6)
        if over < self.rows // 4 and (self.evidence.is_empty() or int(self.evidence["arrived"][0]) > old - int(3.6e9)):
            return
        # The last point of each series is what the next one is measured from.
        last_point = (pl.col("role") == "metric") & (pl.col("ended") == pl.col("ended").max().over("series"))
        keep = (pl.int_range(pl.len()) >= max(over, 0)) & (pl.col("arrived") >= old)
        gone = self.evidence.filter(~(keep | last_point.fill_null(False)))
        if not gone.height:
            return
        self.evidence = self.evidence.filter(keep | last_point.fill_null(False)).rechunk()
        self.horizon = max(int(gone["arrived"].max()), self.horizon or 0)  # type: ignore[arg-type]
        ids = self.evidence.select(pl.col("entry_id").alias("base_id"))
        self.posted = self.posted.join(ids, on="base_id", how="semi").rechunk()
        self.history = self.history.join(ids, on="base_id", how="semi").rechunk()
        self.heard = dict(sorted(self.heard.items(), key=lambda each: each[1])[-100_000:])
        self.voices = {emitter: voices for emitter, voices in self.voices.items() if emitter in self.heard}

    # On disk ------------------------------------------------------------------------------------------------------------------

    def write(self, mark: int, new: pl.DataFrame, entries: pl.DataFrame) -> None:
        """Write down what a batch brought, before it is posted under `mark`."""
        if self.folder is None or not (new.height or entries.height):
            return
        self._number += 1
        if entries.height:
            self._file(mark, "posted", entries)
        if new.height:
            self._file(mark, "evidence", new)

    def _file(self, mark: int, kind: str, frame: pl.DataFrame) -> None:
        assert self.folder is not None  # noqa: S101
        path = self.folder / f"{mark:020d}-{self._number:06d}.{kind}.arrow"
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            frame.write_ipc(file, compression="lz4")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)

    def merge_files(self, mark: int) -> None:
        """Replace many small files by one of what is still kept; everything up to `mark` is in the ledger."""
        if self.folder is None:
            return
        found = self._files()
        if len(found) < _MOST_SEGMENTS or any(of > mark for of, _, _, _ in found):
            return
        self._number += 1
        heard = pl.DataFrame(
            [(emitter, "heard", spoken, arrived, f"heard/{emitter}/{spoken}")
             for emitter, arrived in self.heard.items() for spoken in self.voices.get(emitter, {""})],
            schema={"emitter": pl.String, "role": pl.String, "name": pl.String, "arrived": pl.Int64, "entry_id": pl.String},
            orient="row",
        )  # fmt: skip
        known = self.evidence.drop(list(_KEYS)).filter(pl.col("role").is_null() | (pl.col("role") != "heard"))
        self._file(mark, "evidence", pl.concat([_as(heard, KEPT), known]))
        stale = pl.DataFrame(schema=POSTED)
        extra = self.history.join(
            self.posted.group_by("base_id").agg(pl.len().cast(pl.Int64).alias("n")), on="base_id", how="left"
        ).with_columns((pl.col("version") - pl.col("n").fill_null(0)).alias("left"))
        # Versions that no standing call accounts for are written as entries of kind duplicate, which is how they are read again.
        again = extra.filter(pl.col("left") > 0).select(
            "base_id", pl.lit("duplicate").alias("kind"), pl.lit("").alias("entry_id"), "left"
        )
        again = again.select(pl.exclude("left").repeat_by("left").explode())
        self._file(mark, "posted", pl.concat([_as(again, POSTED), self.posted, stale]))
        for _, number, _, path in found:
            if number < self._number:
                path.unlink(missing_ok=True)

    def read(self, mark: int) -> None:
        """Take up what was written for batches that are in the ledger; what is above `mark` comes again from the journal."""
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob("*.partial"):
            leftover.unlink()
        for of, number, kind, path in self._files():
            self._number = max(self._number, number)
            if of > mark:
                path.unlink()
                continue
            try:
                frame = pl.read_ipc(path.read_bytes())
                if kind == "evidence":
                    self.add(_as(frame, KEPT))
                else:
                    self.remember(_as(frame, POSTED))
            except (pl.exceptions.PolarsError, OSError, ValueError, TypeError) as error:
                logger.warning("a file of recent evidence cannot be read and is dropped: %s: %s", path, error)
                path.unlink(missing_ok=True)

    def _files(self) -> list[tuple[int, int, str, Path]]:
        assert self.folder is not None  # noqa: S101
        found = [(match, path) for path in self.folder.glob("*.arrow") if (match := _SEGMENT.fullmatch(path.name))]
        return sorted((int(m[1]), int(m[2]), m[3], path) for m, path in found)


def _prints(calls: pl.DataFrame) -> pl.DataFrame:
    return calls.select("row", "emitter", pl.col("input_tokens").fill_null(-1).alias("input")).join(fingerprints(calls), on="row")


def _hashed(column: pl.Series) -> pl.Series:
    return pl.Series(column.hash(seed=11)).zip_with(
        column.is_not_null(), pl.Series([0], dtype=pl.UInt64).new_from_index(0, column.len())
    )


def _keyed(evidence: pl.DataFrame) -> pl.DataFrame:
    return evidence.with_columns(
        _hashed(evidence["trace_id"]).alias("trace_key"),
        _hashed(evidence["response_id"]).alias("response_key"),
        _hashed(evidence["request_id"]).alias("request_key"),
    )


def _as(frame: pl.DataFrame, schema: dict[str, Any]) -> pl.DataFrame:
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(kind).alias(name) for name, kind in schema.items()
    )


def _without_twins(evidence: pl.DataFrame) -> pl.DataFrame:
    named, nameless = evidence.filter(pl.col("entry_id").is_not_null()), evidence.filter(pl.col("entry_id").is_null())
    return pl.concat(
        [
            named.unique("entry_id", keep="first", maintain_order=True),
            nameless.unique(["trace_id", "span_id"], keep="first", maintain_order=True),
        ]
    )


def _missing_from(new: pl.DataFrame, kept: pl.DataFrame) -> pl.DataFrame:
    fresh = new.filter(pl.col("entry_id").is_not_null()).join(
        kept.select("entry_id"), on="entry_id", how="anti", maintain_order="left"
    )
    links = new.filter(pl.col("entry_id").is_null())
    if not links.height:
        return fresh
    return pl.concat(
        [fresh, links.join(kept.select("trace_id", "span_id"), on=["trace_id", "span_id"], how="anti", maintain_order="left")]
    )


def _meet(history: pl.DataFrame, told: pl.DataFrame) -> bool:
    return bool(told.join(history, on="base_id", how="semi").height)


def moment(now: datetime) -> int:
    """Microseconds since 1970."""
    return int(now.timestamp() * 1e6)
