"""`spanledger inspect` says of each span and log record what it was taken for, and what all of them come to."""

import gzip
import json
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from spanledger.cli.inspect import RULES
from spanledger.collector.count import grouping
from spanledger.collector.decode import json_form
from tests.api.running import Running, running
from tests.cli.command import here
from tests.cli.running import eventually
from tests.dialects.bodies import SAMPLES
from tests.dialects.spans import Log, Span, body_of, chat, hexed, logs_of

_WRAPPED = body_of(
    chat(id="o", scope="framework", name="chat", end=300, attributes={"customer.id": "acme"}),
    chat(id="i", parent="h", scope="client", name="POST", start=10, end=290),
    Span(id="h", parent="o", scope="http", name="retrying", attributes={}),
    Span(trace="web", scope="http", name="GET /", attributes={"http.route": "/"}),
).body
_CODED = "fffe29f99325c91fb05d8defabd7174f"
_SAID = logs_of(Log(scope="app.log", text="a line of a log", attributes={})).body


def _inspect(*arguments: str) -> dict[str, Any]:
    outcome = here("inspect", "--json", *arguments)
    assert (outcome.code, outcome.err) == (0, "")
    found: dict[str, Any] = json.loads(outcome.out)
    return found


def _posted(up: Running, bodies: int) -> bool:
    return up.collector.loop.progress.bodies >= bodies


def _file(folder: Path, content: bytes) -> str:
    path = folder / "export"
    path.write_bytes(content)
    return str(path)


def test_each_record_is_named_with_what_it_was_taken_for_and_what_stands_for_it(tmp_path: Path) -> None:
    found = _inspect(_file(tmp_path, _WRAPPED + b"\n" + _SAID))
    told = {record["name"]: (record["taken_for"], record["verdict"], record["rule"]) for record in found["records"]}
    assert told == {
        "chat": ("call", "duplicate", "leaf_in_leaf"),
        "POST": ("call", "call", None),
        "retrying": ("part of a trace", "-", None),
        "GET /": ("nothing", "-", None),
        "a line of a log": ("nothing", "-", None),
    }
    (call,) = (entry for entry in found["entries"] if entry["kind"] == "call")
    (wrapper,) = (record for record in found["records"] if record["name"] == "chat")
    assert wrapper["stands_for"] == call["entry_id"]
    assert (call["input_tokens"], call["tenant"], float(call["cost_usd"]) > 0, found["seen"]) == (1000, None, True, 5)


def test_telemetry_is_read_as_the_collector_is_configured_to(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("processors:\n  attribution:\n    tenant: [customer.id]\n")
    found = _inspect(_file(tmp_path, _WRAPPED), "--config", str(config))
    assert {entry["tenant"] for entry in found["entries"]} == {"acme"}
    config.write_text("processors:\n  attribution:\n    nobody: [x]\n")
    outcome = here("inspect", _file(tmp_path, _WRAPPED), "--config", str(config))
    assert (outcome.code, "nobody" in outcome.err) == (2, True)


def _as_protobuf() -> bytes:
    request = ExportTraceServiceRequest()
    for resource, scope, span in json_form.records(_WRAPPED, "traces")[0]:
        of_resource = request.resource_spans.add()
        of_resource.resource.ParseFromString(resource)
        of_scope = of_resource.scope_spans.add()
        of_scope.scope.ParseFromString(scope)
        of_scope.spans.add().ParseFromString(span)
    return request.SerializeToString()


@pytest.mark.parametrize("form", ["json", "gzip", "a line each", "a list", "several lines", "protobuf", "framed protobuf"])
def test_a_file_is_read_however_its_writer_laid_it_out(form: str, tmp_path: Path) -> None:
    binary = _as_protobuf()
    content = {
        "json": _WRAPPED,
        "gzip": gzip.compress(_WRAPPED),
        "a line each": _WRAPPED + b"\n" + _SAID + b"\n",
        "a list": b"[" + _WRAPPED + b"]",
        "several lines": json.dumps(json.loads(_WRAPPED), indent=1).encode() * 2,
        "protobuf": binary,
        "framed protobuf": b"".join(len(each).to_bytes(4, "big") + each for each in (binary, binary)),
    }[form]
    found = _inspect(_file(tmp_path, content))
    assert sum(entry["calls"] for entry in found["entries"]) == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "there is nothing in it"),
        (b"not json", "neither OTLP/JSON nor an OTLP request in protobuf"),
        (b'{"a": 1}', "holds none of them"),
        (_WRAPPED[:300], "breaks off"),
        pytest.param(gzip.compress(_WRAPPED)[:80], "cannot be unpacked", id="cut short"),
    ],
)
def test_what_is_no_otlp_is_told_without_a_traceback(content: bytes, says: str, tmp_path: Path) -> None:
    outcome = here("inspect", _file(tmp_path, content))
    assert (outcome.code, says in outcome.err) == (1, True), outcome.err


def test_wrong_arguments_are_told_with_what_to_do(tmp_path: Path) -> None:
    for argument in ("nosuch.json", "0123", str(tmp_path)):
        outcome = here("inspect", argument)
        assert (outcome.code, "a trace id of 32 hex digits" in outcome.err) == (1, True)
    unknown = here("inspect", "0" * 31 + "1", "--data", str(tmp_path / "none"))
    assert (unknown.code, "--data" in unknown.err) == (1, True)
    assert here("inspect", "-", "--signal", "nope").code == 2


def test_a_table_is_shown_to_people() -> None:
    shown = here("inspect", str(SAMPLES / "dup_pydantic_ai_2_anthropic_native.traces.json")).out
    assert "6 of 6 records say something about a call" in shown
    assert "same_response_id" in shown


def test_a_trace_of_a_running_collector_is_told_span_by_span(tmp_path: Path) -> None:
    with running(tmp_path) as up:
        host, port = up.collector.addresses["http"].rsplit(":", 1)
        httpx.post(f"http://{host}:{port}/v1/traces", content=_WRAPPED, headers={"content-type": "application/json"}, timeout=60)
        eventually(partial(_posted, up, 1), "the trace in the ledger")
        found = _inspect(hexed("trace", 16), "--data", str(tmp_path))
        for bodies, signal in enumerate(("logs", "metrics", "traces"), start=2):  # the call first, then what repeats it
            content = (SAMPLES / f"claude_code.{signal}.json").read_bytes()
            where, kind = f"http://{host}:{port}/v1/{signal}", {"content-type": "application/json"}
            httpx.post(where, content=content, headers=kind, timeout=60)
            eventually(partial(_posted, up, bodies), f"the sample's {signal} in the ledger")
        coded, entries = here("inspect", _CODED, "--data", str(tmp_path)), _inspect(_CODED, "--data", str(tmp_path))["entries"]
    told = {record["name"]: record["verdict"] for record in found["records"] if record["name"]}
    assert told == {"chat": "duplicate", "POST": "call"}
    assert sorted(entry["kind"] for entry in found["entries"]) == ["call", "duplicate"]
    # What sums up calls of any traces is no part of this one; what is shown says what it means.
    assert ("4 of 4 records" in coded.out, "left out: 1 point of metrics" in coded.err) == (True,) * 2
    assert (sum(entry["calls"] for entry in entries), "2 entries" in coded.out) == (1, True)
    assert ("(1,000)" in coded.out, " 0.004545 " in coded.out, "same_request_id: names the same request" in coded.out) == (
        True,
    ) * 3
    assert "tenant" in coded.out
    assert "flags" not in coded.out


def test_every_rule_is_explained() -> None:
    assert set(RULES) == {*grouping.RULES, "learned_more"} - {""}


def test_a_trace_is_shown_without_those_that_are_only_like_it(tmp_path: Path) -> None:
    answer = {"gen_ai.response.id": "chatcmpl-9f86d081884c7d659a2feaa0c55ad015"}
    bodies = [
        body_of(chat(1000, 200, trace="mine", scope="one", attributes=answer)),
        body_of(chat(1000, 200, trace="joined", scope="two", id="b", attributes=answer)),
        *(body_of(chat(1000, n, trace=f"like {n}", scope="two", id=f"{n}", start=n, end=n + 90)) for n in (1, 2, 3)),
    ]
    with running(tmp_path) as up:
        host, port = up.collector.addresses["http"].rsplit(":", 1)
        for body in bodies:
            httpx.post(
                f"http://{host}:{port}/v1/traces", content=body.body, headers={"content-type": "application/json"}, timeout=60
            )
        eventually(lambda: sum(up.collector.loop.progress.entries.values()) >= 5, "the traces in the ledger")
        asked, other = hexed("mine", 16), hexed("joined", 16)
        found, shown = _inspect(asked, "--data", str(tmp_path)), here("inspect", asked, "--data", str(tmp_path)).out
    assert {record["trace_id"] for record in found["records"]} == {asked, other} == {e["trace_id"] for e in found["entries"]}
    assert (found["seen"], "2 of 2 records" in shown, "2 entries" in shown) == (2, True, True)
    assert (other in shown, asked in shown, hexed("like 1", 16) in shown) == (True, False, False)


def test_log_records_that_their_vendor_numbers_are_told_once() -> None:
    found = _inspect(str(SAMPLES / "cursor_enterprise.logs.json"))
    assert [record["taken_for"] for record in found["records"]] == ["call", "call", "call", "correction"]
