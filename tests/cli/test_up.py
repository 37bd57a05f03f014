"""`spanledger up` and `serve` as processes: they say where they are, and stop cleanly however they are told to."""

import re
import signal
import socket
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from spanledger.cli.addresses import Addresses
from spanledger.cli.up import _welcome
from tests.cli.command import here, in_a_process
from tests.cli.running import FREE_PORTS, addresses, alive, collector, eventually, running


def url_of(text: str, name: str) -> str:
    found = re.search(rf"^ *{re.escape(name)} +(\S+)$", text, re.M)
    assert found, text
    return found[1]


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_up_prints_the_addresses_and_the_line_and_stops_cleanly(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(tmp_path, "up", "--data", str(data), *FREE_PORTS, "--dashboard-port", "0") as up:
        eventually(lambda: "stops it" in up.out or up.process.poll() is not None, "the addresses")
        assert "import spanledger.auto  # noqa: F401" in up.out, up.err
        with urllib.request.urlopen(url_of(up.out, "dashboard"), timeout=30) as page:
            assert b"<title>" in page.read()
        with urllib.request.urlopen(url_of(up.out, "API") + "/healthz", timeout=30) as answer:
            assert answer.status == 200
        host, _, port = url_of(up.out, "OTLP/gRPC").partition(":")
        socket.create_connection((host, int(port)), timeout=30).close()
        # The ports are not the default ones: the application must be told, once.
        assert up.out.count("and start it with:") == 1
        assert up.out.count(f"OTEL_EXPORTER_OTLP_ENDPOINT={url_of(up.out, 'OTLP/HTTP')}") == 1
        children = children_of(up.process.pid) if sys.platform == "linux" else []
        assert up.told(signal.SIGINT) == 0, up.err
        assert [child for child in children if alive(child)] == []
        assert "Traceback" not in up.err
        assert not (data / "addresses.json").exists()
        assert (data / "collector.lock").exists()


def test_on_the_default_ports_an_application_needs_the_line_alone() -> None:
    data = str(Path("spanledger-data").absolute())
    defaults = Addresses(grpc="127.0.0.1:4317", http="127.0.0.1:4318", api="http://127.0.0.1:4380", data=data, pid=1)
    told = _welcome(defaults, "http://127.0.0.1:8501")
    assert "import spanledger.auto" in told
    assert "start it with" not in told
    assert told.count("In another terminal:") == 1
    assert "keys" not in told
    assert "keys        none: whoever is on this machine may do everything" in _welcome(defaults, "http://x", open_to_all=True)
    over_tls = _welcome(replace(defaults, tls=True), "http://x")
    assert "OTLP/HTTP   https://127.0.0.1:4318" in over_tls
    assert "export OTEL_EXPORTER_OTLP_ENDPOINT=https://127.0.0.1:4318" in over_tls
    moved = _welcome(replace(defaults, http="127.0.0.1:5000"), "http://127.0.0.1:8501")
    assert moved.count("start it with") == moved.count("export ") == 1


def test_a_signal_that_a_background_job_begins_with_ignored_stops_it_too(tmp_path: Path) -> None:
    options = ("--data", str(tmp_path / "data"), *FREE_PORTS, "--dashboard-port", "0")
    was = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        started = running(tmp_path, "up", *options)
        with started as up:
            signal.signal(signal.SIGINT, was)
            eventually(lambda: "stops it" in up.out or up.process.poll() is not None, "the addresses")
            assert up.told(signal.SIGINT) == 0, up.err
    finally:
        signal.signal(signal.SIGINT, was)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells a child of its parent's death only on Linux")
def test_nothing_is_left_running_when_up_is_killed(tmp_path: Path) -> None:
    with running(tmp_path, "up", "--data", str(tmp_path / "data"), *FREE_PORTS, "--dashboard-port", "0") as up:
        eventually(lambda: "stops it" in up.out or up.process.poll() is not None, "the addresses")
        children = children_of(up.process.pid)
        assert len(children) == 2
        up.told(signal.SIGKILL)
        eventually(lambda: not any(map(alive, children)), "the children to end")


def test_a_port_in_use_is_one_line_that_names_it(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for option in ("--grpc-port", "--http-port", "--api-port"):
            outcome = here("serve", "--data", data, *FREE_PORTS, option, port)
            assert outcome.code == 1
            assert len(outcome.err.strip().splitlines()) == 1, outcome.err
            assert port in outcome.err
        for option in ("--grpc-port", "--dashboard-port"):
            outcome = in_a_process("up", "--data", data, *FREE_PORTS, "--dashboard-port", "0", option, port)
            assert outcome.code == 1
            assert len(outcome.err.strip().splitlines()) == 1, outcome.err
            assert port in outcome.err
            assert outcome.out == ""


def test_one_collector_over_a_folder_at_a_time_even_after_a_kill(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with collector(tmp_path / "first", data) as (first, found):
        assert found["pid"] == first.process.pid
        eventually(lambda: "ledger" in first.out, "what it prints once it is announced")
        assert url_of(first.out, "API") == found["api"]
        refused = here("serve", "--data", str(data), *FREE_PORTS)
        assert refused.code == 1
        assert len(refused.err.strip().splitlines()) == 1, refused.err
        assert str(data) in refused.err
        first.told(signal.SIGKILL)
    with running(tmp_path, "serve", "--data", str(data), *FREE_PORTS) as again:
        eventually(lambda: "ledger" in again.out or again.process.poll() is not None, "the second start")
        assert addresses(data, again)["pid"] == again.process.pid
        assert again.told(signal.SIGTERM) == 0
        assert again.err == ""
        assert not (data / "addresses.json").exists()


def test_a_wrong_configuration_stops_the_start_with_the_key(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("receivers:\n  otlp:\n    protocols:\n      grpc:\n        endpont: 127.0.0.1:0\n")
    for command in (("serve", "--config", str(file)), ("up", "--config", str(file)), ("check-config", str(file))):
        outcome = in_a_process(*command) if command[0] == "up" else here(*command)
        assert outcome.code == 1
        assert len(outcome.err.strip().splitlines()) == 1, outcome.err
        assert "receivers.otlp.protocols.grpc.endpont" in outcome.err
        assert f"{file}:5" in outcome.err
