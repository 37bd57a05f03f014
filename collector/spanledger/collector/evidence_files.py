"""Recent evidence written down batch by batch, so that a restart knows what was known.

A batch's files bear the journal's mark under which it is posted and are on disk before it is; at a start those above
the ledger's mark are thrown away, because their bodies come again from the journal. A file that cannot be read is
dropped with a warning: what it held is then counted from the ledger alone.
"""

import logging
import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from spanledger.collector.memory import KEPT, KEYS, POSTED, Memory, as_kept

logger = logging.getLogger(__name__)

#: A posting as it is written: the columns by which it can be taken back, and the record it was posted for.
WRITTEN = {**POSTED, "kind": pl.String, "stands_for": pl.String, "base_id": pl.String}

_NAME = re.compile(r"(\d{20})-(\d{8})\.(evidence|postings)\.arrow")
#: The file that says before when (microseconds since 1970) evidence may be in the ledger alone.
_HORIZON = "horizon"
#: So many files are merged into two.
MOST_FILES = 128


@dataclass(slots=True)
class EvidenceFiles:
    """The files of one folder; one writer at a time."""

    folder: Path
    _number: int = field(default=0, init=False)

    def read(self, memory: Memory, mark: int) -> None:
        """Put into memory what is in the ledger already, that is up to `mark`."""
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
                    memory.add(as_kept(frame, KEPT))
                else:
                    self._remember(memory, as_kept(frame, WRITTEN))
            except (pl.exceptions.PolarsError, OSError, ValueError, TypeError) as error:
                logger.warning("a file of recent evidence cannot be read and is dropped: %s: %s", path, error)
                memory.forgot(int(path.stat().st_mtime * 1e6) if path.exists() else time.time_ns() // 1000)
                path.unlink(missing_ok=True)
        self._read_horizon(memory)
        if mark and memory.evidence.is_empty():
            # The ledger holds calls, and nothing of their evidence is left.
            memory.forgot(time.time_ns() // 1000)

    def _read_horizon(self, memory: Memory) -> None:
        path = self.folder / _HORIZON
        if path.exists():
            text = path.read_text()
            memory.forgot(int(text) if text.isdecimal() else int(path.stat().st_mtime * 1e6))

    def peek(self, memory: Memory) -> None:
        """Put into memory whatever is there, and change nothing: for a reader beside the collector."""
        for _, _, kind, path in self._files():
            if kind == "evidence":
                try:
                    memory.add(as_kept(pl.read_ipc(path.read_bytes()), KEPT))
                except (pl.exceptions.PolarsError, OSError, ValueError, TypeError):
                    continue  # merged away, or not yet whole

    def _remember(self, memory: Memory, written: pl.DataFrame) -> None:
        """Reversals name the call they take back, which need not be the record's first."""
        rows = memory.rows_of(written["base_id"])
        memory.remember(written.with_columns(pl.Series("row", rows)).filter(pl.Series(rows >= 0)))

    def write(self, mark: int, evidence: pl.DataFrame, postings: pl.DataFrame) -> None:
        """Write down what a batch brought; `postings` by `WRITTEN`."""
        self._number += 1
        if evidence.height:
            self._file(mark, "evidence", evidence.select(list(KEPT)))
        if postings.height:
            self._file(mark, "postings", postings.select(list(WRITTEN)))

    def merge(self, memory: Memory, mark: int) -> None:
        """Replace many files by what memory still holds, once everything up to `mark` is in the ledger."""
        found = self._files()
        if len(found) < MOST_FILES or any(of > mark for of, _, _, _ in found):
            return
        heard = pl.DataFrame(
            [(emitter, "heard", spoken, arrived, f"heard/{emitter}/{spoken}")
             for emitter, arrived in memory.heard.items() for spoken in memory.voices.get(emitter, {""})],
            schema={"emitter": pl.String, "role": pl.String, "name": pl.String, "arrived": pl.Int64, "entry_id": pl.String},
            orient="row",
        )  # fmt: skip
        said = memory.evidence.drop(list(KEYS)).filter(pl.col("role").ne_missing("heard"))
        here = np.flatnonzero(memory.standing >= 0)
        calls = memory.posted[memory.standing[here]].with_columns(
            memory.evidence["entry_id"].gather(pl.Series(here)).alias("base_id"), pl.lit("call").alias("kind")
        )
        calls = as_kept(calls, WRITTEN)
        # Postings that no longer stand only have to be counted.
        past = np.repeat(np.arange(len(memory.version)), memory.version - (memory.standing >= 0))
        gone = as_kept(pl.DataFrame({"base_id": memory.evidence["entry_id"].gather(pl.Series(past))}), WRITTEN)
        self.write(
            mark,
            pl.concat([as_kept(heard, KEPT), said]),
            pl.concat([gone.with_columns(pl.lit("duplicate").alias("kind")), calls]),
        )
        if memory.horizon is not None:
            partial = (self.folder / _HORIZON).with_suffix(".partial")
            partial.write_text(str(memory.horizon))
            partial.replace(self.folder / _HORIZON)
        for _, number, _, path in found:
            if number < self._number:
                path.unlink(missing_ok=True)

    def _file(self, mark: int, kind: str, frame: pl.DataFrame) -> None:
        path = self.folder / f"{mark:020d}-{self._number:08d}.{kind}.arrow"
        partial = path.with_suffix(".partial")
        # Most columns of most batches are empty; what is not written reads as null.
        frame = frame.select([column.name for column in frame.get_columns() if column.null_count() < frame.height])
        with partial.open("wb") as file:
            frame.write_ipc(file, compression="lz4")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)

    def _files(self) -> list[tuple[int, int, str, Path]]:
        found = [(match, path) for path in self.folder.glob("*.arrow") if (match := _NAME.fullmatch(path.name))]
        return sorted((int(m[1]), int(m[2]), m[3], path) for m, path in found)
