"""One transaction that writes: every row it inserts, updates or deletes leaves an audit row beside it."""

import uuid
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from spanledger.control.tables import LONGEST_WHO, audit


class NotFound(LookupError):
    """No row has that id."""


class Change:
    """Insert, update and delete by id; `who` and `why` go into the audit. `connection` is for reading inside it."""

    def __init__(self, connection: sa.Connection, *, who: str, why: str | None, now: datetime) -> None:
        self.connection = connection
        self.now = now
        self._who, self._why = who[:LONGEST_WHO], why

    def insert(self, table: sa.Table, row: Mapping[str, Any], *, why: str | None = None) -> dict[str, Any]:
        """Add `row`; an `id` is made when it has none. `why` stands in for that of the change. Gives the row as stored."""
        row = {"id": uuid.uuid4().hex, **row}
        self.connection.execute(table.insert().values(**row))
        return self._audited("insert", table, row["id"], None, why)

    def update(self, table: sa.Table, row_id: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Change columns of one row; a change that changes nothing leaves no audit row. Raises `NotFound`."""
        was = self.get(table, row_id)
        self.connection.execute(table.update().where(table.c.id == row_id).values(**values))
        return self._audited("update", table, row_id, was)

    def note(self, table: sa.Table, row_id: str) -> dict[str, Any]:
        """Say something, in `why`, of a row that stays as it is. Raises `NotFound`."""
        row = self.get(table, row_id)
        self._write("note", table, row_id, row, row)
        return row

    def delete(self, table: sa.Table, row_id: str) -> dict[str, Any]:
        """Remove one row and give what it was. Raises `NotFound`."""
        was = self.get(table, row_id)
        self.connection.execute(table.delete().where(table.c.id == row_id))
        self._write("delete", table, row_id, was, None)
        return was

    def get(self, table: sa.Table, row_id: str) -> dict[str, Any]:
        """The row with this id. Raises `NotFound`."""
        row = self.connection.execute(sa.select(table).where(table.c.id == row_id)).mappings().first()
        if row is None:
            raise NotFound(f"there is no {table.name.replace('_', ' ').removesuffix('s')} {row_id!r}")
        return dict(row)

    def _audited(
        self, action: str, table: sa.Table, row_id: str, was: dict[str, Any] | None, why: str | None = None
    ) -> dict[str, Any]:
        row = self.get(table, row_id)
        if row != was:
            self._write(action, table, row_id, was, row, why)
        return row

    def _write(
        self, action: str, table: sa.Table, row_id: str, was: dict[str, Any] | None, row: dict[str, Any] | None,
        why: str | None = None,
    ) -> None:  # fmt: skip
        self.connection.execute(
            audit.insert().values(
                id=uuid.uuid4().hex,
                at=self.now,
                who=self._who,
                action=action,
                table_name=table.name,
                row_id=row_id,
                was=_plain(table, was),
                why=why or self._why,
                **{"is": _plain(table, row)},
            )
        )


def _plain(table: sa.Table, row: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The row as JSON. A column marked `info={"secret": True}` (the hash of a key) never reaches the audit."""
    if row is None:
        return None
    return {name: "(secret)" if table.c[name].info.get("secret") else _value(value) for name, value in row.items()}


def _value(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value
