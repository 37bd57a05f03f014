"""What `spanledger doctor` looks at in a ledger: what is in it, how its files are kept, and what waits for it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from spanledger.cli.finding import Finding, size

if TYPE_CHECKING:
    from spanledger.ledger.damage import Damaged

_MANY_FILES = 2_000
_MANY_LOG_ENTRIES = 5_000
#: A backend that is so far behind takes nothing.
_PATIENCE = timedelta(minutes=1)


def _entries(data: Path, config: Path | None) -> Iterator[Finding]:
    from spanledger.ledger.connect import connect
    from spanledger.ledger.health import health
    from spanledger.ledger.opening import location_of

    location = location_of(data)
    if location is None:
        yield Finding(
            subject="ledger", state="note", says="nothing has been posted yet", do="send something, or run: spanledger demo"
        )
        return
    try:
        # What is damaged is told by `_upkeep`.
        connection = connect(data, damaged="leave out")
        row = connection.execute(
            "select count(*), sum(calls), min(day), max(day), count(distinct day), max(recorded_at), max(occurred_at),"
            " sum(calls) filter (where cost_state = 'unpriced'), list(distinct service) from entries"
        ).fetchone()
        taken = health(location).bytes
    except Exception as error:  # whatever is wrong with it is what is asked
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        yield Finding(subject="ledger", state="wrong", says=f"cannot be read: {said}", do="restore entries/ from a backup")
        yield from _to_blame(location)
        return
    assert row is not None  # noqa: S101  # an aggregate without groups has one row
    entries, calls, first, last, days, recorded, occurred, unpriced, services = row
    if not entries:
        yield Finding(subject="ledger", state="note", says="empty", do="send something, or run: spanledger demo")
        return
    yield Finding(
        subject="ledger",
        state="good",
        says=f"{entries:,} entries, {calls:,} calls on {days} days from {first} to {last}, {size(taken)}"
        + ("" if location == str(data / "entries") else f", at {location}"),
    )
    named = ", ".join(sorted(str(s) for s in services if s)[:8]) or "no service.name"
    yield Finding(
        subject="telemetry", state="good",
        says=f"last arrived {_ago(recorded)} (a call of {occurred:%Y-%m-%d %H:%M} UTC is the latest), from {named}",
    )  # fmt: skip
    unpriced = unpriced or 0
    yield Finding(
        subject="coverage",
        state="note" if unpriced else "good",
        says=f"{unpriced:,} of {calls:,} calls have no known price" if unpriced else "every call is priced",
        do='which: spanledger sql "select provider, model, sum(calls) from entries where cost_state = \'unpriced\' group by all"'
        if unpriced else "",
    )  # fmt: skip


def _to_blame(location: str) -> Iterator[Finding]:
    """Reading has failed: which files are to blame, by reading each."""
    from spanledger.ledger.damage import unreadable_files
    from spanledger.ledger.opening import LedgerError, local_folder, open_table

    folder = local_folder(location)
    try:
        table = None if folder is None else open_table(location, None)
    except LedgerError:  # told already
        return
    if table is not None and folder is not None:
        yield from map(_damaged, unreadable_files(table, folder, whole=True))


def _damaged(one: "Damaged") -> Finding:
    return Finding(
        subject="damaged", state="wrong", says=str(one), do="put it back from a backup, or go on without it: spanledger repair"
    )


def _upkeep(data: Path, config: Path | None) -> Iterator[Finding]:
    """How the ledger's files are kept, and what of them is damaged."""
    from spanledger.ledger.health import health
    from spanledger.ledger.opening import location_of
    from spanledger.ledger.table import LedgerError

    location = location_of(data)
    if location is None:
        return
    try:
        found = health(location)
    except LedgerError:  # told by `_entries`
        return
    yield from map(_damaged, found.damaged)
    for path in found.torn:
        yield Finding(
            subject="log entry", state="note", says=f"{path.name} was half-written and is set aside; its batch was posted again",
            do="delete it when nothing is missing",
        )  # fmt: skip
    many = found.files > _MANY_FILES or found.log_entries > _MANY_LOG_ENTRIES
    readers = "" if found.oldest_reader is None else f", a reader holds version {found.oldest_reader:,}"
    summed = found.summed_entries / found.entries if found.entries else 1
    yield Finding(
        subject="upkeep",
        state="note" if many else "good",
        says=f"{found.files:,} files, {found.unnamed:,} replaced ones wait for deletion ({size(found.unnamed_bytes)}), "
        f"{found.log_entries:,} log entries at version {found.version:,}, {summed:.0%} of the entries in the roll-up{readers}",
        do="the collector puts them together while it runs: spanledger up" if many else "",
    )


def _assumptions(data: Path, config: Path | None) -> Iterator[Finding]:
    """Emitters of whom nobody knows whether their input includes what came from a cache."""
    from spanledger.collector.recognise.assumptions import assumed
    from spanledger.ledger.connect import connect
    from spanledger.ledger.table import LedgerError

    try:
        found = assumed(connect(data, damaged="leave out"))
    except LedgerError:  # told by `_entries`
        return
    for one in found:
        calls = "1 call" if one.calls == 1 else f"{one.calls:,} calls"
        yield Finding(
            subject="assumed", state="note",
            says=f"{calls} of {f'{one.scope} {one.version}'.strip() or 'no scope'}, provider {one.provider or 'unknown'}: "
            f"cached input is taken to be {one.taken} the input"
            + ("" if one.seen is None else f", other records of its calls show it {one.seen}"),
            do=f"settle it in the configuration under processors.recognise.cached_input: {one.line}",
        )  # fmt: skip


def _missing(data: Path, config: Path | None) -> Iterator[Finding]:
    """Spans around calls that claim more than was counted below them."""
    from spanledger.collector.count.missing import missing
    from spanledger.ledger.connect import connect
    from spanledger.ledger.table import LedgerError

    try:
        found = missing(connect(data, damaged="leave out"))
    except LedgerError:  # told by `_entries`
        return
    for one in found:
        traces = "1 trace" if one.traces == 1 else f"{one.traces:,} traces"
        yield Finding(
            subject="missing", state="note",
            says=f"{traces} of {one.service or 'no service'}: {f'{one.scope} {one.version}'.strip() or 'no scope'} claims "
            f"{one.input_tokens:,} input and {one.output_tokens:,} output tokens more than the calls that came",
            do=one.line,
        )  # fmt: skip


def _journal(data: Path, config: Path | None) -> Iterator[Finding]:
    import sqlite3

    from spanledger.cli.backlog import backlog

    path = data / "journal.sqlite"
    if not path.exists():
        return
    try:
        left = backlog(data)
    except sqlite3.Error as error:
        yield Finding(subject="journal", state="wrong", says=f"cannot be read: {error}", do="is something else writing to it?")
        return
    taken = sum(
        p.stat().st_size for p in (path, path.with_name(path.name + "-wal"), *data.glob("journal.bodies/*")) if p.exists()
    )
    yield Finding(subject="journal", state="good", says=f"{left.waiting:,} bodies wait for the ledger, {size(taken)} on disk")
    for reader, (count, came) in left.behind.items():
        late = datetime.now(UTC) - came > _PATIENCE
        yield Finding(
            subject="backend", state="note" if late else "good",
            says=f"exporter {reader} has not handed on {count:,} bodies yet, the oldest came {_ago(came)}",
            do="the collector's log says why; when they fill the journal, senders are told to wait" if late else "",
        )  # fmt: skip
    if left.set_aside:
        bodies = "1 body is" if left.set_aside == 1 else f"{left.set_aside:,} bodies are"
        says = f"{bodies} set aside, unread: {left.reason}"
        yield Finding(subject="set aside", state="wrong", says=says, do="which: spanledger journal list")


def _control(data: Path, config: Path | None) -> Iterator[Finding]:
    """The control database in the data folder; one on a server is looked at by its own tools."""
    import sqlite3
    from contextlib import closing

    from spanledger.cli.backlog import read_only

    path = data / "control.sqlite"
    if not path.exists():
        return
    try:
        with closing(read_only(path)) as control:
            control.execute("select count(*) from sqlite_master").fetchone()
            [(said,)] = control.execute("pragma quick_check(1)").fetchall()
    except sqlite3.Error as error:
        said = str(error)
    if said != "ok":
        yield Finding(
            subject="control", state="wrong", says=f"{path} cannot be read: {said}",
            do="put it back from a backup while the collector is stopped; without it limits, prices and keys are gone",
        )  # fmt: skip


LOOKS: tuple[Callable[[Path, Path | None], Iterator[Finding]], ...] = (
    _entries,
    _assumptions,
    _missing,
    _upkeep,
    _journal,
    _control,
)


def _ago(moment: datetime) -> str:
    seconds = int((datetime.now(UTC) - moment).total_seconds())
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            count = seconds // length
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return f"{max(seconds, 0)} seconds ago"
