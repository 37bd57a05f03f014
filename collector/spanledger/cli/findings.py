"""What `spanledger doctor` looks at: each look is a function that gives findings, and the list of them is the examination."""

import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from spanledger.cli import ledger_findings
from spanledger.cli.addresses import Addresses, running
from spanledger.cli.finding import Finding, size

_LOW_DISK_BYTES = 1 << 30


def look(data: Path, config: Path | None) -> list[Finding]:
    """All findings over the installation and the ledger in `data`, in the order in which to read them."""
    return [finding for one in _LOOKS for finding in _found(one, data, config)]


def _found(look: Callable[[Path, Path | None], Iterator[Finding]], data: Path, config: Path | None) -> Iterator[Finding]:
    """What a look finds; where it fails over what is broken, that is a finding too, and the others go on."""
    try:
        yield from look(data, config)
    except Exception as error:
        subject = look.__name__.lstrip("_")
        told = str(error).splitlines()[0] if str(error) else ""
        yield Finding(subject=subject, state="wrong", says=f"cannot be looked at: {type(error).__name__}: {told}", do="")


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
        says=f"{size(free)} free",
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
    _versions, _configuration, _disk, _collector, *ledger_findings.LOOKS, _sending,
)  # fmt: skip
