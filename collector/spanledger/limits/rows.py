"""Limits as rows of the control database."""

import secrets
from collections.abc import Mapping, Set
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from spanledger.control import TABLES, Change
from spanledger.limits.errors import LimitError
from spanledger.limits.limit import READERS, Limit

TABLE = TABLES["limits"]
COLUMNS = ("name", "selectors", "per", "measure", "window", "hard", "enabled", "tier")


def new_id() -> str:
    return f"lim_{secrets.token_hex(8)}"


def limit_of(row: Mapping[str, Any]) -> Limit:
    """The limit that a row holds."""
    fields = {name: row[name] for name in COLUMNS} | {"amount": str(row["amount"])} | row["rest"]
    return Limit.of(fields, limit_id=row["id"], source=row["source"], created_at=row["created_at"])


def row_of(limit: Limit, now: datetime) -> dict[str, Any]:
    """The columns of a limit, without its times."""
    fields = limit.fields()
    rest = {name: fields[name] for name in READERS if name not in COLUMNS and name != "amount"}
    columns = {name: fields[name] for name in COLUMNS}
    return columns | {"id": limit.id, "source": limit.source, "amount": limit.amount, "rest": rest, "updated_at": now}


def insert(change: Change, limit: Limit) -> None:
    _name_is_free(change, limit)
    change.insert(TABLE, row_of(limit, change.now) | {"created_at": change.now})


def update(change: Change, limit: Limit) -> None:
    """With what was given and forgotten of it, as far as that fits the changed limit no more. Raises `NotFound`."""
    _name_is_free(change, limit)
    row = row_of(limit, change.now)
    was = change.get(TABLE, limit.id)
    changed = {name for name, value in row.items() if name != "updated_at" and was[name] != value}
    if changed:
        change.update(TABLE, limit.id, row)
        _end_what_fits_no_more(change, limit.id, changed)


def delete(change: Change, limit_id: str) -> None:
    """With all that was said of it. Raises `NotFound`."""
    change.delete(TABLE, limit_id)
    for table in (TABLES["pauses"], TABLES["grants"], TABLES["resets"]):
        _end(change, table, limit_id)


def _end_what_fits_no_more(change: Change, limit_id: str, changed: Set[str]) -> None:
    """What a bucket of tokens forgot would be nothing in dollars, or dollars of somebody else: more would pass than the limit
    says. A grant of dollars is none of tokens, and one for a user is for nobody where buckets are tenants'."""
    if changed & {"measure", "per", "selectors", "tier"}:
        _end(change, TABLES["resets"], limit_id)
    if "measure" in changed:
        _end(change, TABLES["grants"], limit_id)
    elif "per" in changed:
        _end(change, TABLES["grants"], limit_id, for_one=True)


def _end(change: Change, table: sa.Table, limit_id: str, *, for_one: bool = False) -> None:
    for row in change.connection.execute(sa.select(table).where(table.c.limit_id == limit_id)).mappings().all():
        if not for_one or row["subject"] is not None:
            change.delete(table, row["id"])


def _name_is_free(change: Change, limit: Limit) -> None:
    taken = sa.select(TABLE.c.id).where(TABLE.c.name == limit.name, TABLE.c.id != limit.id)
    other = change.connection.execute(taken).scalar()
    if other is not None:
        raise LimitError("name", f"{limit.name!r} is already the name of limit {other}")


def may_change(limit: Limit) -> None:
    """Raises `LimitError` for a limit of the configuration."""
    if limit.source == "config":
        raise LimitError("id", f"{limit.name!r} stands in the configuration file; change it there")


def configured(place: int, fields: Mapping[str, Any], now: datetime) -> Limit:
    """One limit of the configuration. Raises `LimitError` with the place in the list."""
    try:
        return Limit.of(fields, limit_id=new_id(), source="config", created_at=now)
    except LimitError as error:
        raise LimitError(f"limits[{place}].{error.field}", error.text) from None
