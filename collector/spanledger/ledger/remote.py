"""Let DuckDB read a table in an object store through Delta's own client: no extension, and credentials are given once."""

from typing import Any

import duckdb
import pyarrow.fs
from deltalake import DeltaTable
from deltalake.fs import DeltaStorageHandler
from fsspec.implementations.arrow import ArrowFSWrapper

#: What a path begins with that lies in the table.
SCHEME = "spanledger://"


class _Files(ArrowFSWrapper):
    protocol = "spanledger"
    cachable = False

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return path.removeprefix(SCHEME) if isinstance(path, str) else [cls._strip_protocol(one) for one in path]


def reach(connection: duckdb.DuckDBPyConnection, table: DeltaTable) -> None:
    """From now on `spanledger://day=…/….parquet` is that file of the table on this connection."""
    if _Files.protocol not in connection.list_filesystems():
        files = pyarrow.fs.PyFileSystem(DeltaStorageHandler.from_table(table._table))
        connection.register_filesystem(_Files(files))  # type: ignore[no-untyped-call]
