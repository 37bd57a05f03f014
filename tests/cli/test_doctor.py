"""`spanledger doctor` and `check-config` say what is wrong, and nothing when nothing is."""

import asyncio
import json
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from spanledger.collector.journal.journal import Journal
from spanledger.collector.received import Received
from spanledger.ledger.connect import connect
from spanledger.ledger.maintenance import Maintenance
from spanledger.ledger.opening import note_location
from spanledger.ledger.table import Ledger
from tests.cli.command import here
from tests.cli.running import collector
from tests.ledger.made import entries, entry
from tests.repository.skeleton import ROOT


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default ports may be in use on the machine that runs the tests: look at others."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "OTEL_SDK_DISABLED",
        "OTEL_TRACES_EXPORTER",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    ):
        monkeypatch.delenv(name, raising=False)


def findings(*arguments: str) -> dict[str, dict[str, str]]:
    outcome = here("doctor", "--json", *arguments)
    found = json.loads(outcome.out)
    assert outcome.code == int(any(finding["state"] == "wrong" for finding in found))
    return {finding["subject"]: finding for finding in found}


def configured(folder: Path, port: int) -> Path:
    file = folder / "config.yaml"
    file.write_text(f"receivers:\n  otlp:\n    protocols:\n      grpc:\n        endpoint: 127.0.0.1:{port}\n")
    return file


def test_before_the_first_start_it_says_how_to_begin(tmp_path: Path) -> None:
    found = findings("--data", str(tmp_path / "data"))
    assert found["collector"]["state"] == found["ledger"]["state"] == "note"
    assert "spanledger up" in found["collector"]["do"]
    assert found["disk"]["says"].endswith("free")
    assert found["configuration"]["state"] == "good"


def test_a_data_folder_that_is_a_file_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    found = findings("--data", str(tmp_path / "data"))
    assert (found["data folder"]["state"], found["data folder"]["do"]) == ("wrong", "choose another with --data")


def test_a_limit_that_the_collector_would_not_take_is_found_by_check_config(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text('extensions: {limits: [{name: x, selectors: {tenant: a}, measure: cost, amount: "1", window: day}]}\n')
    outcome = here("check-config", str(file))
    assert outcome.code == 1
    assert "extensions.limits[0].measure" in outcome.err


def test_a_port_in_use_is_named_with_the_option_that_changes_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = findings("--data", str(tmp_path / "data"), "--config", str(configured(tmp_path, port)))
    assert found["OTLP/gRPC"]["state"] == "wrong"
    assert str(port) in found["OTLP/gRPC"]["says"]
    assert "--grpc-port" in found["OTLP/gRPC"]["do"]


def test_a_running_collector_is_found_and_each_door_tried(tmp_path: Path) -> None:
    with collector(tmp_path / "serve", tmp_path / "data") as (serve, addresses):
        found = findings("--data", str(tmp_path / "data"))
        assert str(serve.process.pid) in found["collector"]["says"]
        assert {found[name]["state"] for name in ("collector", "OTLP/gRPC", "OTLP/HTTP")} == {"good"}
        assert addresses["http"] in found["OTLP/HTTP"]["says"]


def test_it_tells_when_telemetry_last_arrived_and_what_has_no_price(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    rows = entries(
        entry("a", recorded_at=now, service="shop"), entry("b", recorded_at=now, service="shop", cost_state="unpriced")
    )
    Ledger.open(tmp_path / "data" / "entries").post(rows, 1)
    found = findings("--data", str(tmp_path / "data"))
    assert "2 calls" in found["ledger"]["says"]
    assert "seconds ago" in found["telemetry"]["says"]
    assert "shop" in found["telemetry"]["says"]
    assert found["coverage"]["state"] == "note"
    assert "1 of 2" in found["coverage"]["says"]


def test_what_was_assumed_about_an_emitter_is_told_with_the_line_that_settles_it(tmp_path: Path) -> None:
    row = entry("a", scope_name="home.made", scope_version="2", provider="openai", flags=["semantics_assumed"])
    Ledger.open(tmp_path / "data" / "entries").post(entries(row), 1)
    found = findings("--data", str(tmp_path / "data"))["assumed"]
    assert found["state"] == "note"
    assert "1 call of home.made 2, provider openai" in found["says"]
    assert "scope: 'home.made'" in found["do"]


def test_what_an_agent_claims_beyond_its_calls_is_told_with_a_trace_to_look_at(tmp_path: Path) -> None:
    now, trace = datetime.now(UTC), "ab" * 16
    told = {"trace_id": trace, "scope_name": "home.made", "occurred_at": now, "recorded_at": now - timedelta(minutes=9)}
    claim = {"kind": "duplicate", "rule": "aggregate", "calls": 0, "claimed_input_tokens": 900}
    Ledger.open(tmp_path / "data" / "entries").post(entries(entry("a", **told, input_tokens=500), entry("b", **told, **claim)), 1)
    found = findings("--data", str(tmp_path / "data"))["missing"]
    assert found["state"] == "note"
    assert "claims 400 input and 0 output tokens more" in found["says"]
    assert f"spanledger inspect {trace}" in found["do"]
    assert f"take the same folder: --data {tmp_path / 'data'}" in here("doctor", "--data", str(tmp_path / "data")).out


def test_it_tells_how_the_files_are_kept_and_names_those_that_are_damaged(tmp_path: Path) -> None:
    data, now = tmp_path / "data", datetime.now(UTC)
    ledger = Ledger.open(data / "entries")
    for number in range(9):
        ledger.post(entries(entry(f"{number:032x}", occurred_at=now)), mark=number + 1)
    with connect(data):
        Maintenance(ledger).round()
        ledger.post(entries(entry("f" * 32, occurred_at=now)), mark=10)
        says = findings("--data", str(data))["upkeep"]["says"]
    assert says.startswith("2 files, 9 replaced ones wait for deletion (")
    assert "log entries at version 11" in says
    assert "a reader holds version 9" in says
    Path(ledger.files()[0]).unlink()
    found = findings("--data", str(data))
    assert (found["damaged"]["state"], "is missing" in found["damaged"]["says"]) == ("wrong", True)
    assert "spanledger repair" in found["damaged"]["do"]
    assert found["ledger"]["state"] == "good"


def test_whatever_is_broken_is_named_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    data = tmp_path / "data"
    ledger = Ledger.open(data / "entries")
    ledger.post(entries(entry("a")), 1)
    ledger.post(entries(entry("b")), 2)
    path = Path(ledger.files()[-1])
    path.write_bytes(bytes(path.stat().st_size))
    found = findings("--data", str(data))
    assert (found["damaged"]["state"], "cannot be read" in found["damaged"]["says"]) == ("wrong", True)
    (data / "control.sqlite").write_bytes(b"no database" * 100)
    found = findings("--data", str(data))
    assert "file is not a database" in found["control"]["says"]
    assert found["upkeep"]["state"] == "good"


def test_a_ledger_in_another_folder_is_looked_at_there(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    note_location(tmp_path / "data", str(tmp_path / "shared"))
    Ledger.open(tmp_path / "shared").post(entries(entry("a")), 1)
    says = findings("--data", str(tmp_path / "data"))["ledger"]["says"]
    assert "1 entries, 1 calls" in says
    assert says.endswith(f"at {tmp_path / 'shared'}")


def test_a_ledger_that_cannot_be_read_is_wrong(tmp_path: Path) -> None:
    log = tmp_path / "data" / "entries" / "_delta_log"
    log.mkdir(parents=True)
    (log / f"{0:020}.json").write_text("not a log\n")
    assert findings("--data", str(tmp_path / "data"))["ledger"]["state"] == "wrong"


def test_what_could_not_be_read_is_wrong_and_says_why(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()

    async def fill() -> None:
        journal = Journal(data / "journal.sqlite", limit_bytes=1 << 20)
        for _ in range(3):
            await journal.append(
                Received(
                    sequence=0,
                    received_at=datetime.now(UTC),
                    signal="traces",
                    encoding="protobuf",
                    compression="identity",
                    body=b"x",
                )
            )
        journal.set_aside(1, "not OTLP at byte 0")
        journal.flush()
        journal.close()

    asyncio.run(fill())
    found = findings("--data", str(data))
    assert "2 bodies wait" in found["journal"]["says"]
    assert found["set aside"]["state"] == "wrong"
    assert "1 body is set aside, unread: not OTLP at byte 0" in found["set aside"]["says"]
    assert "spanledger journal list" in found["set aside"]["do"]
    for change in ("retry", "drop"):
        outcome = here("journal", change, "99", "--data", str(data))
        assert (outcome.code, "only 0 of the 1 named are set aside" in outcome.err) == (1, True)


def test_what_only_the_backend_behind_has_not_had_does_not_wait_for_the_ledger(tmp_path: Path) -> None:
    def fill(age: timedelta) -> None:
        came = datetime.now(UTC) - age
        journal = Journal(tmp_path / "journal.sqlite", limit_bytes=1 << 20, readers=["otlp"])
        sent = Received(
            sequence=0, received_at=came, signal="traces", encoding="protobuf", compression="identity", body=b"x"
        )  # fmt: skip
        asyncio.run(journal.append(sent))
        journal.drop(journal.bodies)
        journal.flush()
        journal.close()

    for age, state in ((timedelta(0), "good"), (timedelta(hours=3), "note")):
        fill(age)
        found = findings("--data", str(tmp_path))
        assert found["journal"]["says"].startswith("0 bodies wait for the ledger")
        assert found["backend"]["state"] == state
    assert "has not handed on 2 bodies yet, the oldest came 3 hours ago" in found["backend"]["says"]


def test_an_environment_in_which_no_span_is_made_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert findings("--data", str(tmp_path / "data"))["environment"]["state"] == "wrong"


def test_people_read_it_line_by_line(tmp_path: Path) -> None:
    text = here("doctor", "--data", str(tmp_path / "data")).out
    assert "✓ spanledger" in text
    assert "! ledger" in text
    assert "→ " in text


def test_the_configuration_in_the_repository_is_good() -> None:
    outcome = here("check-config", str(ROOT / "otel-config.yaml"))
    assert outcome.code == 0, outcome.err
    assert outcome.out.endswith("is good\n")


def test_a_configuration_that_is_not_there_is_named(tmp_path: Path) -> None:
    outcome = here("check-config", str(tmp_path / "none.yaml"))
    assert outcome.code == 2
    assert "none.yaml does not exist" in outcome.err
