"""Recent evidence written down batch by batch, so that a restart knows what was known.

A batch's files bear the journal's mark under which it is posted and are on disk before it is; at a start those above
the ledger's mark are thrown away, because their bodies come again from the journal. A file that cannot be read is
dropped with a warning: what it held is then counted from the ledger alone.
"""

import binascii
import logging
import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import polars as pl
import pyarrow as pa

from spanledger.collector.columns.chunks import Rows, in_columns
from spanledger.collector.count.evidence import HEARD
from spanledger.collector.count.memory import KEPT, POSTED, Memory, as_kept
from spanledger.collector.count.merging import as_posted
from spanledger.collector.count.told import Told

logger = logging.getLogger(__name__)

#: A posting as it is written: the columns by which it can be taken back, and the record it was posted for.
WRITTEN = {**POSTED, "kind": pl.String, "stands_for": pl.String, "base_id": pl.String}

#: Of a record: whether its call was posted just as the record says it, or the record as a duplicate, so that nothing else has
#: to be written of that.
PLAIN, REPEATED = "plain", "repeated"

_NAME = re.compile(r"(\d{20})-(\d{8})\.(evidence|postings)\.arrow")
#: Columns that keep so many times their own size of texts of other records or columns are written without those.
_PINNED = 3
#: What a text takes beside its bytes, and whether there is one.
_VIEW_BYTES = 17
#: Columns of hex, if nobody sent anything else.
_IDS = ("entry_id", "trace_id", "span_id", "parent_span_id", "base_id", "stands_for")
_COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
#: The file that says before when (microseconds since 1970) evidence may be in the ledger alone.
_HORIZON = "horizon"
#: So many files are merged into a few, …
MOST_FILES = 128
#: … or those that hold so many times as many records as memory does, so that a burst does not fill the disk.
_MOST_TIMES = 8
#: Records of a file that others are merged into: all in one took 140 MiB.
_MERGED_ROWS = 16_384


@dataclass(slots=True)
class EvidenceFiles:
    """The files of one folder; one writer at a time."""

    folder: Path
    _number: int = field(default=0, init=False)
    _records: int = field(default=0, init=False)

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
                frame = _frame(path)
                if kind == "evidence":
                    self._add(memory, as_kept(frame, {**KEPT, PLAIN: pl.Boolean, REPEATED: pl.Boolean}))
                else:
                    self._remember(memory, as_kept(frame, WRITTEN))
            except (pl.exceptions.PolarsError, pa.ArrowException, OSError, ValueError, TypeError) as error:
                logger.warning("a file of recent evidence cannot be read and is dropped: %s: %s", path, error)
                memory.forgot(int(path.stat().st_mtime * 1e6) if path.exists() else time.time_ns() // 1000)
                path.unlink(missing_ok=True)
        self._read_horizon(memory)
        if mark and not memory.evidence.height:
            # The ledger holds calls, and nothing of their evidence is left.
            memory.forgot(time.time_ns() // 1000)

    def _read_horizon(self, memory: Memory) -> None:
        path = self.folder / _HORIZON
        if path.exists():
            told = [int(text) for text in path.read_text().split() if text.isdecimal()]
            memory.forgot(told[0] if told else int(path.stat().st_mtime * 1e6))
            memory.ripe = told[1] if len(told) > 1 else 0

    def posted_beyond(self, mark: int, let_go: int) -> int | None:
        """Up to where the ledger must have been posted to, when its mark is less: there is evidence of what the journal has let
        go of, which it does only once that is in the ledger. None when nothing is missing."""
        return max((of for of, *_ in self._files() if mark < of <= let_go), default=None)

    def peek(self, memory: Memory) -> None:
        """Put into memory whatever is there, and change nothing: for a reader beside the collector."""
        for _, _, kind, path in self._files():
            if kind == "evidence":
                try:
                    memory.add(as_kept(_frame(path), KEPT))
                except (pl.exceptions.PolarsError, pa.ArrowException, OSError, ValueError, TypeError):
                    continue  # merged away, or not yet whole

    def _add(self, memory: Memory, written: pl.DataFrame) -> None:
        memory.add(written)
        memory.version[memory.rows_of(written["entry_id"].filter(written[REPEATED].fill_null(False)))] += 1
        posted = memory.rows_of(written["entry_id"].filter(written[PLAIN].fill_null(False)))
        if len(posted):
            calls = Told(memory.seen(posted), np.arange(len(posted)))
            as_posted(calls)
            memory.remember(calls.columns(list(POSTED)).with_columns(pl.Series("row", posted), pl.lit("call").alias("kind")))
            memory.arrays["plain"][posted] = True

    def _remember(self, memory: Memory, written: pl.DataFrame) -> None:
        """Reversals name the call they take back, which need not be the record's first."""
        rows = memory.rows_of(written["base_id"])
        memory.remember(written.with_columns(pl.Series("row", rows)).filter(pl.Series(rows >= 0)))

    def write(self, mark: int, evidence: pl.DataFrame, postings: pl.DataFrame) -> None:
        """Write down what a batch brought: records (`KEPT`, with `PLAIN` and `REPEATED`), and all other postings (`WRITTEN`)."""
        self._number += 1
        self._records += evidence.height
        if evidence.height:
            self._file(mark, "evidence", evidence)
        if postings.height:
            self._file(mark, "postings", in_columns(postings, WRITTEN))

    def merge(self, memory: Memory, mark: int) -> None:
        """Replace many files by what memory still holds, once everything up to `mark` is in the ledger."""
        found = self._files()
        enough = len(found) >= MOST_FILES or self._records > _MOST_TIMES * memory.rows
        if not enough or any(of > mark for of, _, _, _ in found):
            return
        heard = pl.DataFrame(
            [(emitter, "heard", spoken, arrived, f"heard/{emitter}/{spoken}")
             for emitter, arrived in memory.heard.last.items() for spoken in memory.heard.voices.get(emitter, {""})],
            schema={"emitter": pl.String, "role": pl.String, "name": pl.String, "arrived": pl.Int64, "entry_id": pl.String},
            orient="row",
        )  # fmt: skip
        role, standing, version = (memory.arrays[name] for name in ("role", "standing", "version"))
        plain = memory.arrays["plain"] & (standing >= 0) & (version == 1)
        first = self._number + 1
        self.write(mark, as_kept(heard, KEPT), pl.DataFrame())
        for rows in _portions(np.flatnonzero(role != HEARD)):
            evidence = memory.evidence.told(rows).with_columns(pl.Series(PLAIN, plain[rows]))
            self.write(mark, evidence, pl.DataFrame())
        # Postings that no longer stand only have to be counted.
        past = np.repeat(np.arange(len(version)), version - (standing >= 0))
        gone = pl.DataFrame({"base_id": memory.evidence.column("entry_id", past)}).with_columns(pl.lit("duplicate").alias("kind"))
        self.write(mark, pl.DataFrame(), gone)
        for rows in _portions(np.flatnonzero((standing >= 0) & ~plain)):
            calls = memory.posted.told(standing[rows]).with_columns(
                memory.evidence.column("entry_id", rows).alias("base_id"), pl.lit("call").alias("kind")
            )
            self.write(mark, pl.DataFrame(), calls)
        if memory.horizon is not None:
            partial = (self.folder / _HORIZON).with_suffix(".partial")
            partial.write_text(f"{memory.horizon} {memory.ripe}")
            partial.replace(self.folder / _HORIZON)
        for _, number, _, path in found:
            if number < first:
                path.unlink(missing_ok=True)
        self._records = memory.evidence.height

    def _file(self, mark: int, kind: str, frame: pl.DataFrame) -> None:
        path = self.folder / f"{mark:020d}-{self._number:08d}.{kind}.arrow"
        partial = path.with_suffix(".partial")
        # Most columns of most batches are empty; what is not written reads as null.
        frame = pl.DataFrame([column for column in frame.get_columns() if column.null_count() < frame.height])
        table = _table(frame)
        with partial.open("wb") as file:
            # Arrow's writer takes two thirds of the CPU that Polars' does.
            with pa.ipc.new_file(file, table.schema, options=_COMPRESSED) as written:
                written.write_table(table)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)

    def _files(self) -> list[tuple[int, int, str, Path]]:
        found = [(match, path) for path in self.folder.glob("*.arrow") if (match := _NAME.fullmatch(path.name))]
        return sorted((int(m[1]), int(m[2]), m[3], path) for m, path in found)


def _portions(rows: Rows) -> list[Rows]:
    """Few enough rows at a time that a file of them takes some 20 MiB to write."""
    return [rows[at : at + _MERGED_ROWS] for at in range(0, len(rows), _MERGED_ROWS)]


def _table(frame: pl.DataFrame) -> pa.Table:
    """The frame as Arrow has it, ids as bytes; texts that are a small part of what their column keeps are copied out of it."""
    table = frame.to_arrow(compat_level=pl.CompatLevel.newest())
    texts = [name for name, kind in frame.schema.items() if kind == pl.String]
    pinned = [name for name in texts if name not in _IDS and _pinned(table.column(name), frame.get_column(name))]
    ids = [name for name in texts if name in _IDS]
    alone = frame[[*pinned, *ids]].to_arrow(compat_level=pl.CompatLevel.oldest())
    for name in alone.schema.names:
        column = _as_bytes(alone.column(name).combine_chunks()) if name in _IDS else alone.column(name)
        table = table.set_column(table.schema.get_field_index(name), name, column)
    return table


def _pinned(column: pa.ChunkedArray, texts: pl.Series) -> bool:
    views = _VIEW_BYTES * len(texts)
    return bool(column.get_total_buffer_size() - views > _PINNED * texts.estimated_size())


def _as_bytes(texts: pa.Array) -> pa.Array:
    """Ids as the bytes that they are the hex of, if they are just that: half the size, a quarter of the time to write them."""
    valid, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
    if texts.offset or data is None or (bounds & 1).any():
        return texts
    hexed = memoryview(data)[: bounds[-1]]
    try:
        told = binascii.unhexlify(hexed)
    except binascii.Error:
        return texts
    # Of the digits of hex only capitals have the one of these bits and not the other.
    if ((np.frombuffer(hexed, dtype=np.uint8) & 0x60) == 0x40).any():
        return texts
    return pa.Array.from_buffers(pa.large_binary(), len(texts), [valid, pa.py_buffer(bounds >> 1), pa.py_buffer(told)])


def _frame(path: Path) -> pl.DataFrame:
    """What is in a file. Polars' own reader panics at texts of a column that are all short, as Arrow writes them."""
    with pa.ipc.open_file(pa.py_buffer(path.read_bytes())) as written:
        table = written.read_all()
    table.validate(full=True)  # what a failing disk has changed must not reach code that trusts it
    return cast(pl.DataFrame, pl.from_arrow(table)).with_columns(pl.col(pl.Binary).bin.encode("hex"))
