"""The same control database on PostgreSQL: a real server on a free port, in a folder of its own."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Generator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from spanledger.control import METADATA, TABLES, Control
from spanledger.control.database import VERSIONS, upgrade
from spanledger.control.keys import LONGEST_TENANT, Keys
from spanledger.limits import Check, Limits
from tests.control.test_control import row
from tests.limits.made import FlatPrice
from tests.ports import free_port


def _programs() -> Path | None:
    folders = [Path(found).parent for found in [shutil.which("initdb")] if found] + sorted(
        Path("/usr/lib/postgresql").glob("*/bin")
    )
    whole = [folder for folder in folders if all((folder / name).exists() for name in ("initdb", "postgres", "pg_isready"))]
    return whole[-1] if whole else None


@pytest.fixture(scope="module")
def url() -> Generator[str]:
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: `apt-get install postgresql`")
    # PostgreSQL does not run as root.
    other: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    port = free_port()
    with TemporaryDirectory(prefix="pg") as folder:
        if other:
            shutil.chown(folder, **other)
        settings = ["-D", f"{folder}/db"]
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, **other}
        subprocess.run([programs / "initdb", *settings, "-A", "trust", "-U", "postgres", "--no-sync"], check=True, **quiet)
        listen = ["-p", str(port), "-k", "", "-h", "127.0.0.1", "-c", "fsync=off"]
        server = subprocess.Popen([programs / "postgres", *settings, *listen], **quiet)
        try:
            deadline = time.monotonic() + 60
            while subprocess.run([programs / "pg_isready", "-h", "127.0.0.1", "-p", str(port)], **quiet).returncode:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            server.terminate()
            server.wait(60)


def test_collectors_that_start_together_make_one_schema(url: str) -> None:
    errors: list[Exception] = []

    def start() -> None:
        try:
            Control.open(url).close()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert _differences(url) == []


def test_a_database_of_the_first_version_is_brought_up_to_date(url: str) -> None:
    server = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(sa.text("create database older"))
    older = sa.create_engine(server.url.set(database="older"))
    with older.begin() as connection:
        upgrade(connection, VERSIONS[0])
    # What a column is for is said in new databases alone.
    assert [change for change in _differences(str(older.url)) if change[0] != "modify_comment"] == []
    older.dispose()
    server.dispose()


def _differences(url: str) -> list[Any]:
    """What the schema of an opened database has otherwise than the code's tables."""
    control = Control.open(url)
    with control.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differing = compare_metadata(context, METADATA)
    control.close()
    return [change for found in differing for change in (found if isinstance(found, list) else [found])]


def test_changes_limits_and_keys_work_as_on_sqlite(url: str) -> None:
    control = Control.open(url)
    with control.change(who=f"key {'k' * 200} (key_1)", why="because") as change:
        change.insert(TABLES["limits"], row("a", "0.000000000001"))
        change.delete(TABLES["limits"], "a")
    assert {r["action"] for r in control.rows(TABLES["audit"])} >= {"insert", "delete"}
    limits = Limits(control, FlatPrice())
    limits.create({"name": "x", "measure": "requests", "amount": 1, "window": "day"}, who="tests")
    again = Limits(control, FlatPrice())
    assert [again.check(Check()).verdict for _ in range(2)] == ["warn", "refuse"]
    again.admin.pause({"tenant": "acme"}, reason="stop", who="ann")
    key, secret = Keys(control).create("k" * 200, ["check"], who="ann", tenant="t" * LONGEST_TENANT)
    assert Keys(control).verify(secret) is not None
    Keys(control).revoke(key.id, who="ann")
    assert Keys(control).verify(secret) is None
    limits.close()
    again.close()
    control.close()


def test_one_at_a_time_of_several_processes_is_alone(url: str) -> None:
    first, second = Control.open(url), Control.open(url)
    inside, said = threading.Event(), list[str]()

    def other() -> None:
        with second.alone():
            inside.set()
            said.append("second")

    with first.alone():
        thread = threading.Thread(target=other)
        thread.start()
        assert not inside.wait(0.3)
        said.append("first")
    thread.join(60)
    assert said == ["first", "second"]
    with pytest.raises(RuntimeError, match="broken"), first.alone():
        raise RuntimeError("broken")
    with second.alone():
        pass
    first.close()
    second.close()
