"""What `spanledger doctor` looks at: each look is a function that gives findings, and the list of them is the examination."""

import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from spanledger.cli.addresses import Addresses, running

_LOW_DISK_BYTES = 1 << 30
_MANY_FILES = 2_000
_MANY_LOG_ENTRIES = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`says` is what is so; `do` is what to do about it, empty when nothing needs doing."""

    subject: str
    state: Literal["good", "note", "wrong"]
    says: str
    do: str = ""


def look(data: Path, config: Path | None) -> list[Finding]:
    """All findings over the installation and the ledger in `data`, in the order in which to read them."""
    return [finding for one in _LOOKS for finding in one(data, config)]


def _versions(data: Path, config: Path | None) -> Iterator[Finding]:
    yield Finding(subject="python", state="good", says=f"{'.'.join(map(str, sys.version_info[:3]))} at {sys.executable}")
    yield Finding(subject="spanledger", state="good", says=version("spanledger"))
    for extra, package in (
        ("collector", "deltalake"),
        ("collector", "duckdb"),
        ("collector", "polars"),
        ("dashboard", "streamlit"),
    ):
        try:
            yield Finding(subject=package, state="good", says=version(package))
        except PackageNotFoundError:
            yield Finding(subject=package, state="wrong", says="not installed", do=f"pip install 'spanledger[{extra}]'")


def _configuration(data: Path, config: Path | None) -> Iterator[Finding]:
    from spanledger.collector.config import ConfigError, load

    subject = "configuration"
    try:
        load(config, os.environ, data=data, grpc_port=None, http_port=None, api_port=None)
    except ConfigError as error:
        yield Finding(subject=subject, state="wrong", says=str(error), do="correct the key; spanledger check-config checks again")
    else:
        yield Finding(subject=subject, state="good", says=str(config) if config else "built-in defaults")


def _disk(data: Path, config: Path | None) -> Iterator[Finding]:
    if data.exists() and not data.is_dir():
        yield Finding(
            subject="data folder", state="wrong", says=f"{data} is a file, not a folder", do="choose another with --data"
        )
        return
    place = next(folder for folder in (data.absolute(), *data.absolute().parents) if folder.exists())
    if not os.access(place, os.W_OK):
        yield Finding(subject="data folder", state="wrong", says=f"{place} cannot be written", do="choose another with --data")
        return
    yield Finding(subject="data folder", state="good", says=f"{data.absolute()}{'' if data.exists() else ' (will be made)'}")
    free = shutil.disk_usage(place).free
    low = free < _LOW_DISK_BYTES
    yield Finding(
        subject="disk",
        state="wrong" if low else "good",
        says=f"{_size(free)} free",
        do="free some: a collector whose disk is full turns senders away" if low else "",
    )


def _collector(data: Path, config: Path | None) -> Iterator[Finding]:
    if (addresses := running(data)) is not None:
        yield from _answers(addresses)
        return
    yield Finding(subject="collector", state="note", says=f"none runs over {data}", do="start it: spanledger up")
    yield from _ports(data, config)


def _answers(addresses: Addresses) -> Iterator[Finding]:
    """A running collector: that its three doors answer."""
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(f"{addresses.api}/readyz", timeout=5) as answer:  # noqa: S310  # our own address
            state, says = "good", f"runs as process {addresses.pid}, API {addresses.api} answers {answer.status}"
    except urllib.error.HTTPError as error:
        state, says = "wrong", f"runs as process {addresses.pid} but is not ready: {error.read(300).decode(errors='replace')}"
    except OSError as error:
        state, says = "wrong", f"process {addresses.pid} is there, but its API {addresses.api} does not answer: {error}"
    yield Finding(
        subject="collector",
        state="good" if state == "good" else "wrong",
        says=says,
        do="" if state == "good" else "its log says why",
    )
    for subject, address in (("OTLP/gRPC", addresses.grpc), ("OTLP/HTTP", addresses.http)):
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
            yield Finding(subject=subject, state="good", says=f"{address} accepts connections")
        except OSError as error:
            yield Finding(subject=subject, state="wrong", says=f"{address} does not: {error}", do="its log says why")


def _ports(data: Path, config: Path | None) -> Iterator[Finding]:
    """Nothing runs: whether it could listen where it is told to."""
    from spanledger.collector.config import ConfigError, load

    try:
        loaded = load(config, os.environ, data=data)
    except ConfigError:  # told by `_configuration`
        return
    for subject, host, port, option in (
        ("OTLP/gRPC", loaded.grpc.host, loaded.grpc.port, "--grpc-port"),
        ("OTLP/HTTP", loaded.http.host, loaded.http.port, "--http-port"),
        ("API", loaded.api.host, loaded.api.port, "--api-port"),
        ("dashboard", "127.0.0.1", 8501, "--dashboard-port"),
    ):
        try:
            socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
            yield Finding(subject=subject, state="good", says=f"port {port} is free")
        except OSError as error:
            yield Finding(
                subject=subject,
                state="wrong",
                says=f"cannot listen on {host}:{port}: {error.strerror or error}",
                do=f"stop what uses it, or choose another port: {option} N",
            )


def _ledger(data: Path, config: Path | None) -> Iterator[Finding]:
    from spanledger.analytics.connect import connect
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
        size = health(location).bytes
    except Exception as error:  # whatever is wrong with it is what is asked
        yield Finding(subject="ledger", state="wrong", says=f"cannot be read: {error}", do="restore entries/ from a backup")
        return
    assert row is not None  # noqa: S101  # an aggregate without groups has one row
    entries, calls, first, last, days, recorded, occurred, unpriced, services = row
    if not entries:
        yield Finding(subject="ledger", state="note", says="empty", do="send something, or run: spanledger demo")
        return
    yield Finding(
        subject="ledger",
        state="good",
        says=f"{entries:,} entries, {calls:,} calls on {days} days from {first} to {last}, {_size(size)}"
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
    except LedgerError:  # told by `_ledger`
        return
    for one in found.damaged:
        yield Finding(
            subject="damaged", state="wrong", says=str(one),
            do="put it back from a backup, or go on without it: spanledger repair",
        )  # fmt: skip
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
        says=f"{found.files:,} files, {found.unnamed:,} replaced ones wait for deletion ({_size(found.unnamed_bytes)}), "
        f"{found.log_entries:,} log entries at version {found.version:,}, {summed:.0%} of the entries in the roll-up{readers}",
        do="the collector puts them together while it runs: spanledger up" if many else "",
    )


def _assumptions(data: Path, config: Path | None) -> Iterator[Finding]:
    """Emitters of whom nobody knows whether their input includes what came from a cache."""
    from spanledger.analytics.connect import connect
    from spanledger.collector.assumptions import assumed
    from spanledger.ledger.table import LedgerError

    try:
        found = assumed(connect(data, damaged="leave out"))
    except LedgerError:  # told by `_ledger`
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
    size = sum(p.stat().st_size for p in (path, path.with_name(path.name + "-wal")) if p.exists())
    yield Finding(subject="journal", state="good", says=f"{left.waiting:,} bodies wait for the ledger, {_size(size)} on disk")
    if left.set_aside:
        bodies = "1 body is" if left.set_aside == 1 else f"{left.set_aside:,} bodies are"
        says = f"{bodies} set aside, unread: {left.reason}"
        yield Finding(subject="set aside", state="wrong", says=says, do="which: spanledger journal list")


def _sending(data: Path, config: Path | None) -> Iterator[Finding]:
    """This environment as a host application would find it: the usual reasons why nothing arrives."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        yield Finding(subject="environment", state="wrong", says="OTEL_SDK_DISABLED=true: no span is made", do="unset it")
    if os.environ.get("OTEL_TRACES_EXPORTER") == "none":
        yield Finding(subject="environment", state="wrong", says="OTEL_TRACES_EXPORTER=none: no span is sent", do="unset it")
    for name in ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        if name in os.environ:
            yield Finding(subject="environment", state="note", says=f"{name}={os.environ[name]}: that is where spans go")
    for client in ("openai", "anthropic"):
        try:
            yield Finding(subject=client, state="good", says=f"{version(client)}, instrumented by import spanledger.auto")
        except PackageNotFoundError:
            continue


_LOOKS: tuple[Callable[[Path, Path | None], Iterator[Finding]], ...] = (
    _versions, _configuration, _disk, _collector, _ledger, _assumptions, _upkeep, _journal, _sending,
)  # fmt: skip


def _ago(moment: datetime) -> str:
    seconds = int((datetime.now(UTC) - moment).total_seconds())
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return f"{max(seconds, 0)} seconds ago"


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"
