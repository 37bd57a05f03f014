"""Bad input is flagged or refused by itself; nothing beside it is disturbed."""

import gzip
import json
from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from spanledger.collector.count.count_once import Counting, CountOnce
from spanledger.collector.decode.decode import decode
from spanledger.collector.received import Received
from spanledger.collector.recognise.embedded import usage_in
from spanledger.collector.recognise.recognise import recognise
from spanledger.ledger.frame import conform
from tests.dialects.bodies import NOW, SAMPLES, body, received
from tests.dialects.counting import entries_of, standing
from tests.dialects.spans import Span, as_json, body_of, chat

GOOD = chat(7, 3, id="good")


def _with(bad: Span | dict[str, Any]) -> list[dict[str, Any]]:
    """The calls of one request that holds something bad and a good call."""
    if isinstance(bad, Span):
        request = json.loads(body_of(bad, GOOD).body)
    else:
        request = json.loads(body_of(GOOD).body)
        request["resourceSpans"][0]["scopeSpans"][0]["spans"].insert(0, bad)
    entries = entries_of([[received(request, "traces")]])
    calls = standing(entries)
    assert conform(entries.with_columns(cost_state=pl.lit("unpriced"))).num_rows == entries.height
    assert [call["input_tokens"] for call in calls if call["span_id"] == as_json(GOOD)["spanId"]] == [7]
    return [call for call in calls if call["span_id"] != as_json(GOOD)["spanId"]]


@pytest.mark.parametrize("value", [-5, 10**15, "many", True, [1, 2], {"a": 1}, {}, b"7", float("inf"), 1.5])
def test_a_count_that_is_none_is_left_out_and_flagged(value: Any) -> None:
    (call,) = _with(chat(attributes={"gen_ai.usage.input_tokens": value}))
    assert (call["input_tokens"], call["output_tokens"]) == (None, 200)
    assert "tokens_invalid" in call["flags"]


@pytest.mark.parametrize("value", [-5, 10**15, "many", True, [1, 2]])
def test_a_call_whose_only_count_is_none_is_a_flagged_call_and_not_lost(value: Any) -> None:
    (call,) = _with(chat(None, None, attributes={"gen_ai.usage.input_tokens": value}))
    assert (call["calls"], call["input_tokens"], call["output_tokens"]) == (1, None, None)
    assert {"tokens_invalid", "usage_unknown"} <= set(call["flags"])


@pytest.mark.parametrize("value", [-1, "", "none", float("nan")])
def test_what_emitters_write_for_unknown_is_unknown_and_no_fault(value: Any) -> None:
    (call,) = _with(chat(attributes={"gen_ai.usage.input_tokens": value}))
    assert (call["input_tokens"], call["flags"]) == (None, [])


def test_the_first_valid_spelling_wins_over_an_invalid_one() -> None:
    (call,) = _with(chat(None, attributes={"gen_ai.usage.input_tokens": "none", "gen_ai.usage.prompt_tokens": "12"}))
    assert call["input_tokens"] == 12


def test_a_padded_number_is_a_number() -> None:
    (call,) = _with(chat(None, attributes={"gen_ai.usage.input_tokens": " 1000 "}))
    assert (call["input_tokens"], call["flags"]) == (1000, [])


@pytest.mark.parametrize("start", [0, 1, 10**18, 9_223_372_036_854_775_807, 18_446_744_073_709_551_615, "not a time"])
def test_a_time_that_cannot_be_gives_way_to_that_of_arrival(start: Any) -> None:
    span = {**as_json(chat()), "startTimeUnixNano": str(start)}
    calls = _with(span)
    if start == "not a time":
        assert calls == []
    else:
        assert calls[0]["occurred_at"] == NOW
        assert "time_implausible" in calls[0]["flags"]


def test_an_end_before_the_start_has_no_duration() -> None:
    (call,) = _with(chat(start=100, end=50))
    assert (call["duration_seconds"], "time_implausible" in call["flags"]) == (None, True)


@pytest.mark.parametrize("ids", [{"traceId": ""}, {"spanId": "abcd"}, {"traceId": "0" * 32}, {"spanId": "0" * 16}])
def test_ids_of_the_wrong_length_are_left_out_and_the_call_is_counted_once(ids: dict[str, str]) -> None:
    bad = {**as_json(chat()), **ids}
    (call,) = _with(bad)
    assert "ids_invalid" in call["flags"]
    assert len(call["entry_id"]) == 32
    request = {"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": [bad, bad]}]}]}
    assert entries_of([[received(request, "traces")]] * 2)["calls"].sum() == 1


def test_ids_that_are_no_hex_are_refused_alone_with_a_sentence() -> None:
    request = json.loads(body_of(GOOD).body)
    request["resourceSpans"][0]["scopeSpans"][0]["spans"].append({**as_json(chat()), "traceId": "xyz"})
    telemetry = decode([received(request, "traces", 5)])
    assert telemetry.records.height == 1
    assert [(each.sequence, each.count) for each in telemetry.rejected] == [(5, 1)]
    assert "traceId is not hex" in telemetry.rejected[0].reason


def test_long_names_and_many_attributes_are_cut_and_counted() -> None:
    (call,) = _with(chat(attributes={"gen_ai.response.model": "m" * 65_536}))
    assert len(call["model"]) == 512
    assert "text_cut" in call["flags"]
    (call,) = _with(chat(scope="s" * 65_536, version="1" * 600))
    assert (len(call["scope_name"]), len(call["scope_version"]), "text_cut" in call["flags"]) == (512, 512, True)
    (call,) = _with(chat(resource={"service.name": "é" * 600, "deployment.environment.name": "prod"}))
    assert (len(call["service"]), call["environment"], "text_cut" in call["flags"]) == (512, "prod", True)
    (call,) = _with(chat(resource={"service.name": "é" * 512}))
    assert (len(call["service"]), "text_cut" in (call["flags"] or [])) == (512, False)
    (call,) = _with(chat(attributes={f"key.{n}": n for n in range(100_000)}))
    assert len(json.loads(call["attributes"])) == 64


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        *((text, ["embedded_unreadable"]) for text in ("{", "{'a': __import__('os')}", "[" * 9000, "nothing", '"x"', "[]")),
        *((text, []) for text in ("{1: {2}}", "nan", '{"prompt_tokens": NaN}', "{'prompt_tokens': -1}")),
        ("{'prompt_tokens_details': {'cached_tokens': -600}}", ["tokens_invalid"]),
    ],
)
def test_embedded_usage_that_is_no_literal_or_no_count_reads_as_nothing_and_is_flagged(text: str, flags: list[str]) -> None:
    (call,) = _with(Span(scope="litellm", attributes={**chat().attributes, "metadata.usage_object": text}))
    assert (call["input_tokens"], call["cache_read_tokens"], call["flags"]) == (1000, None, flags)


@pytest.mark.parametrize("value", ["-5", "1e400", "1" + "0" * 23, "{}", "[1]", "true", "1.5", '"many"', '"-5"', "Infinity"])
def test_an_embedded_count_that_is_none_is_flagged_as_that_of_an_attribute_is(value: str) -> None:
    (call,) = _with(_embedding(f'{{"input": {value}, "output": 2}}'))
    assert (call["input_tokens"], call["output_tokens"], call["flags"]) == (None, 2, ["tokens_invalid"])


@pytest.mark.parametrize(("value", "read"), [('"300"', 300), ('" 300 "', 300), ("300.0", 300), ("NaN", None), ('"none"', None)])
def test_an_embedded_count_is_read_as_that_of_an_attribute_is(value: str, read: int | None) -> None:
    (call,) = _with(_embedding(f'{{"input": {value}, "output": "2"}}'))
    assert (call["input_tokens"], call["output_tokens"], call["flags"]) == (read, 2, [])


def _embedding(usage: str) -> Span:
    named = {"langfuse.observation.type": "generation", "langfuse.observation.model.name": "claude-sonnet-4-5"}
    return Span(scope="langfuse-sdk", attributes={**named, "langfuse.observation.usage_details": usage})


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_reading_an_embedded_object_never_raises(text: str) -> None:
    for form in ("provider", "inclusive", "langfuse", "vercel", "adk"):
        found = usage_in(text, form)
        assert found is None or all(isinstance(count, int) and count >= 0 for count in found.counts.values())


def test_spans_that_are_their_own_parent_and_cycles_of_parents_end() -> None:
    (call,) = _with(chat(parent="span"))
    assert (call["calls"], call["flags"]) == (1, ["parents_cycle"])
    # A ring of calls within calls ends nowhere; what comes of it is one of them, whatever comes first.
    ring = [chat(100 + n, 1, id=str(n), parent=str((n + 1) % 3), start=n) for n in range(3)]
    found = [entries_of([[body_of(span)] for span in order]) for order in permutations(ring)]
    assert {(entries["calls"].sum(), entries["input_tokens"].sum()) for entries in found} == {(1, 100)}
    together = entries_of([[body_of(*ring, chat(id="below", parent="1", start=9))]])
    flagged = together.filter(pl.col("flags").list.contains("parents_cycle"))["span_id"].to_list()
    assert sorted(flagged) == sorted(as_json(span)["spanId"] for span in ring)
    chain = [chat(5, 1, id=str(n), parent=str(n + 1), attributes={"gen_ai.operation.name": "plan"}) for n in range(300)]
    assert entries_of([[body_of(chat(id="leaf", parent="0"), *chain)]]).filter(pl.col("kind") == "call")["calls"].sum() == 1


def test_a_body_that_is_none_is_named_and_the_others_are_read() -> None:
    good = replace(body_of(GOOD), sequence=2)
    garbage = Received(
        sequence=3, received_at=NOW, signal="traces", encoding="protobuf", compression="identity", body=b"\xff\xffgarbage"
    )
    text = replace(good, sequence=4, body=b"{not json")
    unzipped = replace(good, sequence=5, compression="gzip")
    bomb = replace(good, sequence=6, compression="gzip", body=gzip.compress(b"0" * (65 * 1024 * 1024)))
    telemetry = decode([garbage, good, text, unzipped, bomb])
    assert sorted(each.sequence for each in telemetry.undecodable) == [3, 4, 5, 6]
    assert recognise(telemetry).height == 1


def test_protobuf_cut_short_anywhere_never_raises() -> None:
    whole = _as_protobuf("openinference.traces.json")
    for size in range(0, len(whole.body), 397):
        telemetry = decode([replace(whole, body=whole.body[:size]), body_of(GOOD, sequence=9)])
        assert recognise(telemetry).filter(pl.col("span_id") == as_json(GOOD)["spanId"]).height == 1


@given(st.binary(max_size=400))
@settings(max_examples=40, deadline=None)
def test_any_bytes_are_read_or_named(content: bytes) -> None:
    for encoding in ("protobuf", "json"):
        for signal in ("traces", "logs", "metrics"):
            given_body = Received(
                sequence=1,
                received_at=NOW,
                signal=signal,
                encoding=encoding,
                compression="identity",
                body=content,
            )
            telemetry = decode([given_body])
            named = telemetry.undecodable or telemetry.rejected
            assert named or telemetry.seen >= telemetry.records["body"].len() or signal == "metrics"
            assert recognise(telemetry).height <= telemetry.records.height


def test_text_that_is_no_utf8_refuses_its_span_alone() -> None:
    whole = _as_protobuf("openinference.traces.json")
    at = whole.body.index(b"gpt-4o-mini-2024-07-18")
    broken = replace(whole, body=whole.body[:at] + b"\xff" + whole.body[at + 1 :])
    telemetry = decode([broken])
    assert [each.count for each in telemetry.rejected] == [1]
    assert telemetry.records.height == decode([whole]).records.height - 1


def _as_protobuf(name: str) -> Received:
    """A sample in the other encoding."""
    from spanledger.collector.decode import json_form

    request = ExportTraceServiceRequest()
    records, _ = json_form.records((SAMPLES / name).read_bytes(), "traces")
    for resource, scope, span in records:
        of_resource = request.resource_spans.add()
        of_resource.resource.ParseFromString(resource)
        of_scope = of_resource.scope_spans.add()
        of_scope.scope.ParseFromString(scope)
        of_scope.spans.add().ParseFromString(span)
    return replace(body(name), encoding="protobuf", body=request.SerializeToString())


@pytest.mark.parametrize("name", ["openinference.traces.json", "langfuse_sdk_5.traces.json", "spring_ai_1.traces.json"])
def test_both_encodings_and_gzip_give_the_same_evidence(name: str) -> None:
    whole = _as_protobuf(name)
    zipped = replace(whole, compression="gzip", body=gzip.compress(whole.body))
    plain, packed, text = (recognise(decode([each])) for each in (whole, zipped, body(name)))
    assert plain.equals(packed)
    assert plain.equals(text)


def test_json_is_read_as_senders_write_it() -> None:
    span = as_json(chat())
    span["kind"], span["status"], span["somethingNew"] = "SPAN_KIND_CLIENT", {"code": "STATUS_CODE_ERROR"}, {"x": [1]}
    span["attributes"] += [{"key": "empty", "value": {}}, {"key": "bare", "value": {"intValue": 5}}, {"key": "null"}]
    (call,) = _with(span)
    assert call["outcome"] == "error"


def test_spans_that_say_nothing_of_models_are_dropped_but_still_lead_to_who_asked() -> None:
    web = [Span(id=f"w{n}", scope="http", attributes={"http.route": "/x"}) for n in range(50)]
    telemetry = decode([body_of(*web)])
    assert (telemetry.seen, telemetry.records.height, recognise(telemetry).height) == (50, 0, 0)
    chain = [
        Span(id="root", attributes={"spanledger.tenant": "acme"}),
        Span(id="mid", parent="root", scope="http", attributes={}),
    ]
    (call,) = standing(entries_of([[body_of(*web, *chain, chat(id="c", parent="mid"))]]))
    assert call["tenant"] == "acme"


@pytest.mark.parametrize("kind", ["summary", "sum", "gauge", "histogram", "exponentialHistogram", ""])
def test_a_metric_without_points_or_of_another_kind_is_nothing(kind: str) -> None:
    metric: dict[str, Any] = {"name": "gen_ai.client.token.usage", **({kind: {"dataPoints": []}} if kind else {})}
    scoped = {"scope": {"name": "x"}, "metrics": [metric]}
    body = received({"resourceMetrics": [{"resource": {}, "scopeMetrics": [scoped]}]}, "metrics")
    assert entries_of([[body], [body, body_of(GOOD, sequence=2)]])["calls"].sum() == 1


@pytest.mark.parametrize("others", ["sums", "sums in one another", "repeats"])
def test_a_trace_of_ever_so_many_equal_spans_is_counted_in_time_and_memory_that_grow_with_them(others: str) -> None:
    """As that of a load test below one span that has not ended: laid beside each other all at once they are 10^8 pairs."""
    many = 10_000
    call = chat(scope="opentelemetry.instrumentation.ag2", parent="open", start=5, end=50)
    told = {"gen_ai.operation.name": "invoke_agent"} if others != "repeats" else {
        "ag2.span.type": "usage", "ag2.usage.kind": "model_call", "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 200}  # fmt: skip
    other = chat(id="other", parent="open", attributes=told) if others != "repeats" else Span(
        scope="opentelemetry.instrumentation.ag2", id="other", parent="open", start=60, end=60, attributes=told)  # fmt: skip
    number = pl.int_range(many).cast(pl.String).str.zfill(16)
    frames = []
    for kind, span in (("a", call), ("b", other)):
        one = recognise(decode([body_of(span)]))
        own = number.str.replace("^0", kind)
        above = own.shift() if kind == "b" and others == "sums in one another" else pl.col("parent_span_id")
        copies = one[[0] * many].with_columns(own.alias("span_id"), (own + own).alias("entry_id"))
        frames.append(copies.with_columns(above.alias("parent_span_id")))
    counter = CountOnce(Counting(rows=3 * many))
    entries = pl.concat([counter.count(pl.concat(frames), now=NOW), counter.due(now=NOW + timedelta(hours=1))])
    assert entries.group_by("kind").agg(pl.col("calls").sum(), pl.len()).sort("kind").rows() == [
        ("call", many, many), ("duplicate", 0, many)]  # fmt: skip
