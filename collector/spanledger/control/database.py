"""Opens the control database, brings its schema up to date, and hands out transactions.

Alembic is imported where an older schema is met: it takes a tenth of what a collector's start does.
"""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from spanledger.control.change import Change
from spanledger.control.tables import METADATA

#: Numbers of advisory locks.
_MIGRATING, _ALONE = 4380, 4381

MIGRATIONS = Path(__file__).parent / "migrations"

#: All versions of the schema, as the files of the migrations are numbered, the newest last.
VERSIONS = sorted(file.name[1:5] for file in (MIGRATIONS / "versions").glob("m[0-9]*.py"))

#: Where Alembic keeps the one that a database has.
_VERSION = sa.Table("alembic_version", sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True))
_VERSION.primary_key.name = "alembic_version_pkc"


class ControlError(Exception):
    """The control database cannot be opened; the text says which and why."""


class Control:
    """The control database at `url`: `sqlite:///path`, `postgresql://…`, or a plain path of an SQLite file."""

    def __init__(self, engine: sa.Engine, clock: Callable[[], datetime]) -> None:
        self.engine = engine
        self._clock = clock
        self._writing = threading.Lock()

    @classmethod
    def open(cls, url: str | Path, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> "Control":
        """Connect and migrate to the newest schema. Raises `ControlError`."""
        url = _url(url)
        try:
            engine = _engine(url)
            try:
                with engine.begin() as connection:
                    _migrate(connection)
            except BaseException:
                engine.dispose()
                raise
        except (sa.exc.SQLAlchemyError, ImportError, OSError) as error:
            reason = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise ControlError(
                f"the control database {sa.make_url(url).render_as_string()} cannot be opened: {reason}"
            ) from error
        return cls(engine, clock)

    @contextmanager
    def read(self) -> Generator[sa.Connection]:
        """A connection to read with."""
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def change(self, *, who: str, why: str | None = None) -> Generator[Change]:
        """A transaction that audits; it is rolled back when the block raises. One at a time over all processes: what the block
        reads, by whichever connection, nobody else changes."""
        # Waiting here is fairer than SQLite's busy time-out.
        with self._writing, self.engine.begin() as connection:
            _alone(connection)
            yield Change(connection, who=who, why=why, now=self._clock())

    @contextmanager
    def alone(self) -> Generator[None]:
        """One at a time of all processes that share a database on PostgreSQL; another that comes waits."""
        if self.engine.dialect.name != "postgresql":
            yield
            return
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text(f"select pg_advisory_lock({_ALONE})"))
            try:
                yield
            finally:
                connection.execute(sa.text(f"select pg_advisory_unlock({_ALONE})"))

    def rows(self, table: sa.Table, *where: sa.ColumnElement[bool]) -> list[dict[str, Any]]:
        """All rows of `table` that fit, in the order of their id."""
        with self.read() as connection:
            return [dict(row) for row in connection.execute(sa.select(table).where(*where).order_by(table.c.id)).mappings()]

    def close(self) -> None:
        self.engine.dispose()


def _url(url: str | Path) -> str:
    text = str(url)
    if isinstance(url, Path) or "://" not in text:
        Path(text).parent.mkdir(parents=True, exist_ok=True)
        return f"sqlite:///{text}"
    # psycopg 3 is the driver the `postgres` extra installs; a bare postgresql:// would mean psycopg2.
    for prefix in ("postgresql://", "postgres://"):
        if text.startswith(prefix):
            return "postgresql+psycopg://" + text.removeprefix(prefix)
    return text


def _engine(url: str) -> sa.Engine:
    if not url.startswith("sqlite"):
        return sa.create_engine(url, pool_pre_ping=True)
    engine = sa.create_engine(url, connect_args={"timeout": 30, "check_same_thread": False})

    @sa.event.listens_for(engine, "connect")
    def _settings(connection: Any, _record: Any) -> None:
        try:
            for setting in ("journal_mode=wal", "synchronous=full", "foreign_keys=on"):
                connection.execute(f"pragma {setting}").close()
        except BaseException:
            connection.close()  # the pool does not have it yet
            raise

    return engine


def _migrate(connection: sa.Connection) -> None:
    if _current(connection) == VERSIONS[-1]:
        return
    # Collectors that start together must not migrate together; the lock ends with the transaction.
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text(f"select pg_advisory_xact_lock({_MIGRATING})"))
    else:
        connection.exec_driver_sql("begin immediate")
    current = _current(connection)
    if current is None:
        _make(connection)
    elif current != VERSIONS[-1]:
        upgrade(connection)


def _make(connection: sa.Connection) -> None:
    """The newest schema in a database that has none. A table of this name that is somebody else's is an error."""
    METADATA.create_all(connection, checkfirst=False)
    _VERSION.create(connection)
    connection.execute(_VERSION.insert().values(version_num=VERSIONS[-1]))


def upgrade(connection: sa.Connection, to: str = "head") -> None:
    """Run all migrations that this database has not had, or those up to the version `to`."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, to)


def _alone(connection: sa.Connection) -> None:
    """Wait until no other process changes anything; the lock ends with the transaction."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("select pg_advisory_xact_lock(4380)"))
    else:
        connection.exec_driver_sql("begin immediate")


def _current(connection: sa.Connection) -> str | None:
    """The version that a database has, None where it is empty. Raises `ControlError` when it is one that is not known here."""
    if not sa.inspect(connection).has_table(_VERSION.name):
        return None
    current = connection.execute(sa.select(_VERSION.c.version_num)).scalar()
    if current is not None and current not in VERSIONS:
        raise ControlError(f"the control database has the schema of a newer Spanledger ({current}): upgrade this one")
    return current
