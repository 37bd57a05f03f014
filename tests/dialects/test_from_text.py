"""Dialects of which there is no sample, written from their description: one call of C1 (1000 input of which 600 read from the
cache and 100 written to it, 200 output of which 128 reasoning) must come out of each as what its emitter can tell."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from spanledger.collector.decode.decode import decode
from spanledger.collector.recognise.assumptions import CachedInput, assumed
from spanledger.collector.recognise.recognise import recognise
from spanledger.ledger.connect import connect
from spanledger.ledger.frame import conform
from spanledger.ledger.table import Ledger
from tests.dialects.bodies import NOW, received
from tests.dialects.counting import entries_of, standing
from tests.dialects.described import CASES, CLAUDE, PROVED, of, usage
from tests.dialects.spans import Log, Span, body_of, chat, logs_of

_DETAILS = "gen_ai.client.inference.operation.details"


@pytest.mark.parametrize("case", CASES)
def test_a_dialect_without_a_sample_is_read_as_its_description_says(case: str) -> None:
    span, expected = CASES[case]
    (call,) = standing(entries_of([[body_of(span)]]))
    told = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
    assert tuple(call[name] for name in told) == expected
    assert call["granularity"] == "call"
    # What a row knows needs no proof: 300 with 700 beside them would be put right without it.
    assert ("semantics_by_arithmetic" in call["flags"]) == (case in PROVED)


@pytest.mark.parametrize(
    ("attributes", "provider"),
    [
        (
            {"gen_ai.system": "strands-agents", "gen_ai.request.model": "us.anthropic.claude-sonnet-4-5-20250929-v1:0"},
            "aws.bedrock",
        ),
        ({"gen_ai.system": "github", "gen_ai.request.model": "claude-sonnet-4.5"}, "anthropic"),
        ({"gen_ai.provider.name": "openai", "server.address": "my.openai.azure.com"}, "azure.ai.openai"),
        ({"gen_ai.provider.name": "openai", "server.address": "api.groq.com"}, "groq"),
        ({"gen_ai.system": "az.ai.openai"}, "azure.ai.openai"),
        ({"gen_ai.system": "vertex_ai"}, "gcp.vertex_ai"),
        ({"gen_ai.provider.name": "some.new.provider"}, "some.new.provider"),
    ],
)
def test_who_is_paid_is_told_by_name_address_and_model(attributes: dict[str, Any], provider: str) -> None:
    (call,) = standing(entries_of([[body_of(Span(attributes={**usage(10, 5), **attributes}))]]))
    assert call["provider"] == provider


def test_what_was_assumed_is_listed_with_the_line_that_settles_it(tmp_path: Path) -> None:
    span = Span(
        scope="my.app",
        version="2",
        attributes=of("anthropic", CLAUDE, usage(700, 200, **{"gen_ai.usage.cache_read.input_tokens": 600})),
    )
    ledger = Ledger.open(tmp_path / "entries")
    ledger.post(conform(entries_of([[body_of(span)]]).with_columns(cost_state=pl.lit("unpriced"))), 1)
    with connect(tmp_path) as connection:
        (found,) = assumed(connection)
    assert (found.scope, found.version, found.provider, found.calls) == ("my.app", "2", "anthropic", 1)
    assert found.line.startswith("- {scope: 'my.app', provider: 'anthropic', where: inside}")
    settled = [CachedInput(scope="my.app", provider="anthropic", where="outside")]
    row = recognise(decode([body_of(span)]), None, settled).row(0, named=True)
    assert (row["input_tokens"], row["flags"]) == (1300, [])


def test_a_whole_that_nobody_has_seen_is_flagged_and_one_without_cache_is_not() -> None:
    unknown = of("anthropic", CLAUDE, usage(1000, 200, **{"gen_ai.usage.cache_read.input_tokens": 600}))
    (call,) = standing(entries_of([[body_of(Span(attributes=unknown))]]))
    assert call["flags"] == ["semantics_assumed"]
    plain = of("anthropic", CLAUDE, usage(1000, 200, **{"gen_ai.usage.cache_read.input_tokens": 0}))
    (call,) = standing(entries_of([[body_of(Span(attributes=plain))]]))
    assert call["flags"] == []


def test_labels_in_one_value_become_tags_and_dimensions() -> None:
    metadata = '{"team": "red", "tier": 2, "tenant": "acme", "deep": {"a": 1}, "ls_provider": "openai", "beta": true}'
    span = chat(attributes={"metadata": metadata, "tag.tags": ["urgent", "cost:centre-7"]})
    (call,) = standing(entries_of([[body_of(span)]]))
    assert {tag["key"]: tag["value"] for tag in call["tags"]} == {
        "team": "red", "tier": "2", "tenant": "acme", "beta": "true", "urgent": "true", "cost": "centre-7",
    }  # fmt: skip
    assert call["tenant"] == "acme"


@pytest.mark.parametrize("metadata", ["{", "[1", "[]", '"a"', "{" * 5000, '{"a": null, "": "b"}', "[" * 100_000])
def test_metadata_that_is_no_object_disturbs_nothing(metadata: str) -> None:
    (call,) = standing(entries_of([[body_of(chat(attributes={"metadata": metadata, "tag.tags": metadata}))]]))
    assert (call["input_tokens"], [tag for tag in call["tags"] if tag["key"]]) == (1000, [])


def test_a_map_as_an_attribute_leaves_the_others_readable() -> None:
    request = json.loads(body_of(chat(attributes={"spanledger.tenant": "acme"})).body)
    pairs = request["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"]
    pairs.insert(0, {"key": "a.map", "value": {"kvlistValue": {"values": [{"key": "k", "value": {"intValue": "1"}}]}}})
    (call,) = standing(entries_of([[received(request, "traces")]]))
    assert (call["input_tokens"], call["tenant"]) == (1000, "acme")


def test_what_a_known_record_of_the_same_call_shows_is_proposed(tmp_path: Path) -> None:
    own = of("anthropic", CLAUDE, usage(700, 200, **{"gen_ai.usage.cache_read.input_tokens": 600}))
    sure = Span(scope="com.anthropic.sdk.python", id="i", parent="o", end=90, attributes=of("anthropic", CLAUDE, usage(1300, 200,
        **{"gen_ai.usage.cache_read.input_tokens": 600})))  # fmt: skip
    # One of its calls is told by an emitter that is known as well, another is not.
    spans = [Span(scope="my.app", id="o", attributes=own), sure, Span(scope="my.app", trace="alone", attributes=own)]
    ledger = Ledger.open(tmp_path / "entries")
    ledger.post(conform(entries_of([[body_of(*spans)]])), 1)
    with connect(tmp_path) as connection:
        (found,) = assumed(connection)
    assert (found.calls, found.taken, found.seen) == (1, "inside", "outside")
    assert found.line == "- {scope: 'my.app', provider: 'anthropic', where: outside}  # as other records of its calls show"


def test_what_is_taken_to_stand_apart_is_listed_so(tmp_path: Path) -> None:
    span = Span(scope="cursor.telemetry", attributes=of("aws.bedrock", CLAUDE, usage(300, 200)))
    ledger = Ledger.open(tmp_path / "entries")
    ledger.post(conform(entries_of([[body_of(span)]])), 1)
    with connect(tmp_path) as connection:
        (found,) = assumed(connection)
    assert (found.taken, found.seen) == ("outside", None)
    assert found.line.endswith("where: outside}  # or inside")


def test_content_as_maps_is_no_more_kept_than_content_as_text() -> None:
    secret = "the answer is forty-two"
    messages = [{"role": "user", "parts": [{"type": "text", "content": secret}]}]
    told = {"gen_ai.input.messages": messages, "gen_ai.output.messages": messages, "gen_ai.system_instructions": messages[0],
            "my.own": {"note": secret}, "harmless.list": ["a", "b"]}  # fmt: skip
    for body in (body_of(chat(attributes=told)), logs_of(Log(event=_DETAILS, attributes={**chat().attributes, **told}))):
        (call,) = standing(entries_of([[body]]))
        assert json.loads(call["attributes"]) == {"harmless.list": '["a", "b"]'}
        assert secret not in json.dumps(call, default=str)


@pytest.mark.parametrize("sent", ["0", None])
def test_a_log_record_without_a_time_has_that_of_its_observation(sent: str | None) -> None:
    request = json.loads(logs_of(Log(event=_DETAILS, attributes=chat().attributes)).body)
    record = request["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]
    record["observedTimeUnixNano"], record["timeUnixNano"] = record["timeUnixNano"], sent
    (call,) = standing(entries_of([[received(request, "logs")]]))
    assert (call["occurred_at"], "time_implausible" in call["flags"]) == (
        NOW - timedelta(hours=1) + timedelta(milliseconds=100),
        False,
    )


@pytest.mark.parametrize(
    "log",
    [
        Log(event="api_request", attributes={}),
        Log(event="core/src/otel.rs:120", attributes={"event.name": "api_request"}),
        Log(text="claude_code.api_request", attributes={}),
    ],
    ids=["its field", "an attribute, which a source line does not hide", "its body"],
)
def test_an_event_is_known_by_its_name_wherever_that_stands(log: Log) -> None:
    told = {"model": CLAUDE, "input_tokens": 300, "output_tokens": 9, **log.attributes}
    (call,) = standing(entries_of([[logs_of(replace(log, scope="com.anthropic.claude_code.events", attributes=told))]]))
    assert call["input_tokens"] == 300
