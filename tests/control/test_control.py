"""The control database: every change leaves an audit row in the same transaction, and old schemas are brought up to date."""

import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from spanledger.control import METADATA, TABLES, Change, Control, ControlError, NotFound
from spanledger.control.database import MIGRATIONS, VERSIONS, upgrade

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def row(name: str, amount: str = "5.00") -> dict[str, object]:
    return {
        "id": name, "name": name, "source": "api", "selectors": {}, "per": [], "measure": "cost_usd", "window": {},
        "amount": Decimal(amount), "hard": True, "enabled": True, "rest": {}, "created_at": NOW, "updated_at": NOW,
    }  # fmt: skip


RAISING = """
import sys
from spanledger.control import TABLES, Control
control = Control.open(sys.argv[1])
for _ in range(25):
    with control.change(who="ann") as change:
        [row] = control.rows(TABLES["limits"])
        change.update(TABLES["limits"], "a", {"amount": row["amount"] + 1})
control.close()
"""


def opened(tmp_path: Path) -> Control:
    return Control.open(tmp_path / "control.sqlite", clock=lambda: NOW)


def test_a_change_leaves_who_when_what_was_what_is_and_why(tmp_path: Path) -> None:
    control = opened(tmp_path)
    with control.change(who="ann", why="more budget") as change:
        change.insert(TABLES["limits"], row("a"))
    with control.change(who="bob", why="less") as change:
        change.update(TABLES["limits"], "a", {"amount": Decimal("1.10")})
        change.delete(TABLES["limits"], "a")
    first, second, third = sorted(control.rows(TABLES["audit"]), key=lambda r: ["insert", "update", "delete"].index(r["action"]))
    assert (first["who"], first["why"], first["at"], first["was"]) == ("ann", "more budget", NOW, None)
    assert first["is"]["amount"] == "5.00"
    assert (second["who"], second["was"]["amount"], second["is"]["amount"]) == ("bob", "5.00", "1.10")
    assert (third["was"]["amount"], third["is"], third["row_id"]) == ("1.10", None, "a")
    control.close()


def test_a_change_that_fails_leaves_neither_row_nor_audit(tmp_path: Path) -> None:
    control = opened(tmp_path)

    def fail(change: Change) -> None:
        change.insert(TABLES["limits"], row("a"))
        raise RuntimeError("no")

    with pytest.raises(RuntimeError), control.change(who="ann") as change:
        fail(change)
    assert control.rows(TABLES["limits"]) == []
    assert control.rows(TABLES["audit"]) == []
    control.close()


def test_a_change_that_changes_nothing_leaves_no_audit(tmp_path: Path) -> None:
    control = opened(tmp_path)
    with control.change(who="ann") as change:
        change.insert(TABLES["limits"], row("a"))
        change.update(TABLES["limits"], "a", {"amount": Decimal("5.00")})
    assert [r["action"] for r in control.rows(TABLES["audit"])] == ["insert"]
    control.close()


def test_a_row_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    control = opened(tmp_path)
    with pytest.raises(NotFound, match="there is no limit 'x'"), control.change(who="ann") as change:
        change.delete(TABLES["limits"], "x")
    control.close()


def test_collectors_that_start_together_on_an_empty_database_all_open_it(tmp_path: Path) -> None:
    words = "import sys; from spanledger.control import Control; sys.stdin.read(); Control.open(sys.argv[1]).close()"
    command = [sys.executable, "-c", words, str(tmp_path / "control.sqlite")]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(3)]
    for process in started:
        assert process.stdin is not None
        process.stdin.close()
    assert [process.wait(60) for process in started] == [0, 0, 0]


def test_of_changes_that_two_processes_make_at_once_none_is_lost(tmp_path: Path) -> None:
    control = opened(tmp_path)
    with control.change(who="ann") as change:
        change.insert(TABLES["limits"], row("a", "0"))
    started = [subprocess.Popen([sys.executable, "-c", RAISING, str(tmp_path / "control.sqlite")]) for _ in range(2)]
    assert [process.wait(60) for process in started] == [0, 0]
    [limit] = control.rows(TABLES["limits"])
    assert limit["amount"] == 50
    control.close()


def _schema(control: Control) -> dict[str, object]:
    """All that a database says of its tables: columns in their order with types and defaults, keys and indexes by name."""
    found = sa.inspect(control.engine)
    return {
        table: (
            [{**column, "type": str(column["type"])} for column in found.get_columns(table)],
            found.get_pk_constraint(table),
            found.get_indexes(table),
            found.get_unique_constraints(table),
        )
        for table in sorted(found.get_table_names())
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_the_migrations_make_of_a_database_of_any_version_exactly_what_a_new_one_is(tmp_path: Path, version: str) -> None:
    older = sa.create_engine(f"sqlite:///{tmp_path / 'older.sqlite'}")
    with older.begin() as connection:
        upgrade(connection, version)
    older.dispose()
    new, migrated = opened(tmp_path), Control.open(tmp_path / "older.sqlite")
    assert _schema(migrated) == _schema(new)
    with migrated.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
        assert context.get_current_revision() == VERSIONS[-1]
    new.close()
    migrated.close()


def test_a_migrations_file_is_numbered_as_it_says_itself() -> None:
    script = ScriptDirectory(str(MIGRATIONS))
    assert [revision.revision for revision in script.walk_revisions()] == VERSIONS[::-1]
    assert script.get_heads() == VERSIONS[-1:]


def test_a_new_database_is_made_without_the_library_of_the_migrations(tmp_path: Path) -> None:
    words = "import sys; from spanledger.control import Control; Control.open(sys.argv[1]); sys.exit('alembic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", words, str(tmp_path / "control.sqlite")], timeout=60).returncode == 0


def test_opening_again_finds_what_was_written(tmp_path: Path) -> None:
    control = opened(tmp_path)
    with control.change(who="ann") as change:
        change.insert(TABLES["limits"], row("a", "0.000000000001"))
    control.close()
    again = opened(tmp_path)
    assert again.rows(TABLES["limits"])[0]["amount"] == Decimal("0.000000000001")
    again.close()


def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    control = opened(tmp_path)
    with control.engine.begin() as connection:
        connection.execute(sa.text("update alembic_version set version_num = '9999'"))
    control.close()
    with pytest.raises(ControlError, match=r"9999.*upgrade"):
        opened(tmp_path)


def test_a_database_that_cannot_be_opened_is_named_without_its_password(tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("not a database, and long enough to be told from an empty one" * 20)
    with pytest.raises(ControlError, match="a-file"):
        Control.open(tmp_path / "a-file")
    with pytest.raises(ControlError) as caught:
        Control.open("postgresql://me:secret@127.0.0.1:1/none")
    assert "secret" not in str(caught.value)
