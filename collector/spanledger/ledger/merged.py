"""The rows of one file of a day that is put together with others, handed over a few at a time in an order that is asked for."""

from collections.abc import Iterator
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from spanledger.ledger.compaction import File
from spanledger.ledger.files import DESCRIBED, STORED, repeats
from spanledger.ledger.table import Ledger, LedgerError

Places = npt.NDArray[np.int64]

#: Rows of a file in order that are read at once: of four files, 4,096 of each are 14 MiB more and a tenth less CPU.
_BATCH_ROWS = 1_024
_NAMES = frozenset(STORED.names)
_REPEATING = frozenset(field.name for field in STORED if field.type == pa.string() and repeats(field.name))


class Rows:
    """Opens the file; raises `LedgerError` naming it when it is not what the log says, here and in each that reads."""

    def __init__(self, ledger: Ledger, file: File) -> None:
        self.count = file.rows
        self._file = file
        self._source: Any = None
        self._held: pa.Table | None = None
        self._coming: Iterator[pa.RecordBatch] = iter(())
        self._batch: pa.RecordBatch | None = None
        try:
            self._source = ledger.filesystem.open_input_file(file.path)
            self._footer = pq.read_metadata(self._source)
        except (OSError, pa.ArrowInvalid) as error:
            self.close()
            raise self._unreadable(error) from error
        if self._footer.num_rows != file.rows:
            self.close()
            raise LedgerError(f"{file.path} holds {self._footer.num_rows} entries, the log says {file.rows}")

    def __enter__(self) -> "Rows":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Nothing can be read any more."""
        self._held = self._batch = None
        self._coming = iter(())
        if self._source is not None:
            self._source.close()

    def described(self) -> pa.Table:
        """The columns that the order goes by and the log tells of (`DESCRIBED`)."""
        try:
            return self._opened([]).read(list(DESCRIBED), use_threads=False)
        except (OSError, pa.ArrowInvalid) as error:
            raise self._unreadable(error) from error

    def begin(self, *, in_order: bool) -> None:
        """Read what is in the file: bit by bit, if its rows will be asked for in the order in which they are."""
        # Most columns are empty: as arrays of nulls they would take most of the memory.
        names = _filled(self._footer)
        try:
            if in_order:
                self._coming = self._opened([]).iter_batches(_BATCH_ROWS, columns=names, use_threads=False)
            else:
                repeating = [name for name in names if name in _REPEATING]
                self._held = self._opened(repeating).read(names, use_threads=False).combine_chunks()
        except (OSError, pa.ArrowInvalid) as error:
            raise self._unreadable(error) from error

    def take(self, places: Places) -> "Part":
        """These rows, none of which was asked for before."""
        if self._held is not None:
            return Part(len(places), self._held, pa.array(places))
        parts: list[pa.RecordBatch] = []
        lacking = len(places)
        while lacking:
            batch = self._next() if self._batch is None else self._batch
            parts.append(batch.slice(0, lacking))
            self._batch = batch.slice(lacking) if batch.num_rows > lacking else None
            lacking -= parts[-1].num_rows
        return Part(len(places), pa.Table.from_batches(parts))

    def _next(self) -> pa.RecordBatch:
        try:
            return next(self._coming)
        except (OSError, pa.ArrowInvalid, StopIteration) as error:
            raise self._unreadable(error) from error

    def _opened(self, dictionaries: list[str]) -> pq.ParquetFile:
        return pq.ParquetFile(self._source, metadata=self._footer, read_dictionary=dictionaries)

    def _unreadable(self, error: Exception) -> LedgerError:
        return LedgerError(f"{self._file.path} cannot be read: {error}")


class Part:
    """Some rows of a file; each column is asked for once, and let go of then if nothing else holds it."""

    def __init__(self, count: int, table: pa.Table, places: pa.Array | None = None) -> None:
        self.count = count
        self._columns = dict(zip(table.column_names, table.columns, strict=True))
        self._places = places

    def column(self, name: str) -> pa.Array | None:
        """One column in one piece; None where there is nothing in it."""
        column = self._columns.pop(name, None)
        if column is None:
            return None
        if self._places is not None:
            column = column.take(self._places)
        return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _filled(footer: pq.FileMetaData) -> list[str]:
    """The columns of a file that are not null everywhere."""
    filled = set()
    for group in range(footer.num_row_groups):
        rows = footer.row_group(group)
        for at in range(rows.num_columns):
            column = rows.column(at)
            name = column.path_in_schema.split(".")[0]
            known = column.statistics is not None and column.statistics.has_null_count
            if name in _NAMES and not (known and column.statistics.null_count == column.num_values):
                filled.add(name)
    return sorted(filled)
