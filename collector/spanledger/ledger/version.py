"""The schema version of a table: which one it has, whether it can be read, and how an older one becomes a newer one.

A version only ever adds columns that may be null, so an older table is brought up to date by naming the new columns in
the log; no file is rewritten. Tables that do not say their version have the first one.
"""

from deltalake import CommitProperties, DeltaTable
from deltalake.schema import Field, Schema

from spanledger.ledger.schema import ENTRIES, SCHEMA_VERSION

#: The table property that holds the version.
VERSION = "spanledger.schema_version"
#: The table property that says that files with fewer columns may be among the table's.
MIGRATED_FROM = "spanledger.migrated_from"


class NewerLedger(Exception):
    """A newer Spanledger wrote this table; the message says what to do."""


def version_of(table: DeltaTable) -> int:
    """The schema version of a table. Raises `NewerLedger` when this Spanledger does not know it."""
    found = int(table.metadata().configuration.get(VERSION) or 1)
    if found > SCHEMA_VERSION:
        raise NewerLedger(
            f"the ledger {table.table_uri} has schema version {found}, and this Spanledger knows up to {SCHEMA_VERSION}: "
            "upgrade Spanledger, or restore a backup from before the upgrade"
        )
    return found


def missing_columns(table: DeltaTable) -> list[str]:
    """Columns of an entry that the table does not have yet."""
    there = {field.name for field in table.schema().fields}
    return [name for name in ENTRIES.names if name not in there]


def mixed(table: DeltaTable) -> bool:
    """Whether files of the table may lack columns that it has."""
    return MIGRATED_FROM in table.metadata().configuration


def migrate(table: DeltaTable) -> bool:
    """Bring an older table up to date; whether there was something to do. Can be stopped anywhere and repeated.

    Raises `NewerLedger`.
    """
    found = version_of(table)
    new = missing_columns(table)
    if new:
        # The properties come first: after a crash between the two, files are read by name, which is right in any case.
        _set(table, {MIGRATED_FROM: str(found)})
        wanted = {field.name: field for field in Schema.from_arrow(ENTRIES).fields}
        table.alter.add_columns([Field(name, wanted[name].type, nullable=True) for name in new])
    if found < SCHEMA_VERSION or VERSION not in table.metadata().configuration:
        _set(table, {VERSION: str(SCHEMA_VERSION)})
    return bool(new) or found < SCHEMA_VERSION


def _set(table: DeltaTable, properties: dict[str, str]) -> None:
    said = CommitProperties(custom_metadata=dict(properties))
    table.alter.set_table_properties(properties, raise_if_not_exists=False, commit_properties=said)
    table.update_incremental()
