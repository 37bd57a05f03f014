"""Opens the control database, brings its schema up to date, and hands out transactions."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from spanledger.control.change import Change

#: Numbers of advisory locks.
_MIGRATING, _ALONE = 4380, 4381

MIGRATIONS = Path(__file__).parent / "migrations"


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
    script = ScriptDirectory(str(MIGRATIONS))
    if _is_newest(connection, script):
        return
    # Collectors that start together must not migrate together; the lock ends with the transaction.
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text(f"select pg_advisory_xact_lock({_MIGRATING})"))
    else:
        connection.exec_driver_sql("begin immediate")
    if _is_newest(connection, script):
        return
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _alone(connection: sa.Connection) -> None:
    """Wait until no other process changes anything; the lock ends with the transaction."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("select pg_advisory_xact_lock(4380)"))
    else:
        connection.exec_driver_sql("begin immediate")


def _is_newest(connection: sa.Connection, script: ScriptDirectory) -> bool:
    current = _current(connection)
    if current is not None and current not in {revision.revision for revision in script.walk_revisions()}:
        raise ControlError(f"the control database has the schema of a newer Spanledger ({current}): upgrade this one")
    return current == script.get_current_head()


def _current(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("select version_num from alembic_version")).scalar()
