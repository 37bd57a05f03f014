"""The rule by which calls are counted once, sentence by sentence, and what it does across batches, restarts and time."""

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from spanledger.collector.count import evidence_files
from spanledger.collector.count.count_once import Counting, CountOnce
from spanledger.collector.count.older import LedgerEvidence
from spanledger.collector.decode.decode import decode
from spanledger.collector.received import Received
from spanledger.collector.recognise.recognise import recognise
from spanledger.ledger.connect import connect
from spanledger.ledger.frame import conform
from spanledger.ledger.table import Ledger
from tests.dialects.bodies import NOW, received
from tests.dialects.counting import entries_of, standing
from tests.dialects.spans import Span, attributes, body_of, chat, hexed

_BEDROCK = {"gen_ai.request.model": "anthropic.claude-sonnet-4-5-20250929-v1:0", "gen_ai.system": "aws.bedrock"}


def _counted(*spans: Span) -> list[dict[str, Any]]:
    """The calls of these spans, the same one by one and in reverse."""
    whole = standing(entries_of([[body_of(*spans)]]))
    for order in (spans, tuple(reversed(spans))):
        singly = standing(entries_of([[body_of(span)] for span in order]))
        assert sorted(_short(call) for call in singly) == sorted(_short(call) for call in whole)
    return whole


def _short(call: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(str(call[name]) for name in ("model", "input_tokens", "output_tokens", "tenant", "agent", "session", "outcome"))


def test_a_span_delivered_twice_is_one_call() -> None:
    assert entries_of([[body_of(chat())], [body_of(chat()), body_of(chat())]])["calls"].to_list() == [1]


def test_an_outer_call_with_other_numbers_than_its_inner_one_is_the_same_call() -> None:
    outer = Span(id="o", scope="strands.telemetry.tracer", attributes={"gen_ai.operation.name": "chat", **_BEDROCK,
        "gen_ai.system": "strands-agents", "gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 200,
        "gen_ai.usage.cache_read.input_tokens": 600, "gen_ai.usage.cache_creation.input_tokens": 100,
            "session.id": "s1"})  # fmt: skip
    inner = Span(id="i", parent="o", start=10, end=90, scope="opentelemetry.instrumentation.botocore.bedrock-runtime",
        attributes={
        "gen_ai.operation.name": "chat", **_BEDROCK, "gen_ai.usage.input_tokens": 300, "gen_ai.usage.output_tokens": 200,
        "gen_ai.usage.cache_read.input_tokens": 600, "gen_ai.usage.cache_creation.input_tokens": 100})  # fmt: skip
    (call,) = _counted(outer, inner)
    assert (call["input_tokens"], call["cache_read_tokens"], call["session"]) == (1000, 600, "s1")


def test_a_call_that_two_tell_of_beside_each_other_inside_a_third_learns_what_that_one_knows() -> None:
    outer = chat(id="o", scope="gateway", attributes={"gen_ai.usage.cost": 0.5, "session.id": "s1"})
    inner = [chat(id=name, parent="o", scope=name, start=5, end=90) for name in ("one", "two")]
    (call,) = _counted(outer, *inner)
    assert (call["session"], call["reported_cost_usd"]) == ("s1", Decimal("0.5"))
    # Of two attempts neither cost what both did.
    attempts = [
        chat(500, 5, id="one", parent="o", scope="one", start=5, end=20),
        chat(id="two", parent="o", scope="one", start=30),
    ]
    assert [call["reported_cost_usd"] for call in _counted(outer, *attempts)] == [None, None]


def test_an_embedding_inside_a_chat_is_another_call() -> None:
    """A cache of answers asks for one before the chat; both may be wrapped once more."""

    def embedding(name: str, parent: str) -> Span:
        told = {"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "text-embedding-3-small"}
        return chat(12, None, id=name, parent=parent, scope=name, end=20, attributes=told)

    outer, inner = chat(id="outer", scope="gateway"), chat(id="inner", scope="client", parent="outer", start=30)
    embeddings = [embedding("wrapped", "outer"), embedding("native", "wrapped")]
    for spans in ([outer, *embeddings], [outer, *embeddings, inner], [inner, *reversed(embeddings), outer]):
        calls = standing(entries_of([[body_of(each)] for each in spans]))
        assert sorted(call["input_tokens"] for call in calls) == [12, 1000]


def test_a_call_that_a_tool_makes_inside_a_call_is_a_call_of_its_own() -> None:
    outer = chat(id="o", attributes={"gen_ai.response.id": "resp-outer-0001"})
    tool = Span(id="t", parent="o", start=10, end=90, attributes={"gen_ai.operation.name": "execute_tool"})
    inner = chat(50, 5, id="i", parent="t", start=20, end=80)
    assert len(_counted(outer, tool, inner)) == 2


def test_several_calls_inside_one_are_attempts_and_each_counts() -> None:
    outer = chat(id="o", end=1000)
    first = chat(None, None, id="1", parent="o", start=10, end=100, failed=True, scope="other.scope")
    second = chat(id="2", parent="o", start=200, end=900, scope="other.scope")
    calls = {call["outcome"]: call for call in _counted(outer, first, second)}
    assert set(calls) == {"ok", "error"}
    assert (calls["error"]["attempt"], calls["ok"]["attempt"]) == (1, 2)
    assert calls["ok"]["first_attempt"] == calls["error"]["entry_id"]


def test_an_outer_call_between_spans_of_others_still_contains_the_inner_one() -> None:
    outer = chat(id="o", scope="framework", end=300)
    between = Span(id="b", parent="o", scope="http", start=5, end=290, attributes={"http.request.method": "POST"})
    inner = chat(id="i", parent="b", start=10, end=280)
    assert len(_counted(outer, between, inner)) == 1


def test_equal_calls_in_different_traces_are_one_if_one_ran_inside_the_other() -> None:
    wrapper = chat(trace="a", scope="framework", start=0, end=300, attributes={"spanledger.tenant": "acme"})
    inner = chat(trace="b", scope="client", start=20, end=290)
    (call,) = _counted(wrapper, inner)
    assert call["tenant"] == "acme"
    later = chat(trace="b", scope="client", start=400, end=600)
    assert len(_counted(wrapper, later)) == 2
    other_model = chat(trace="b", scope="client", start=20, end=290, attributes={"gen_ai.request.model": "claude-x"})
    assert len(_counted(wrapper, other_model)) == 2
    assert len(_counted(wrapper, chat(trace="b", scope="framework", start=20, end=290))) == 2
    assert len(_counted(wrapper, chat(trace="b", scope="client", start=20, end=290, service="elsewhere"))) == 2


def test_equal_calls_of_two_hosts_or_processes_are_two() -> None:
    def told(scope: str, trace: str, start: float, end: float, **place: object) -> Span:
        resource = {name.replace("_", "."): value for name, value in place.items()}
        return chat(scope=scope, trace=trace, start=start, end=end, service="unknown_service", resource=resource)

    wrapper = told("framework", "a", 0, 300, host_name="one", process_pid=7)
    assert len(_counted(wrapper, told("client", "b", 20, 290, host_name="two", process_pid=7))) == 2
    assert len(_counted(wrapper, told("client", "b", 20, 290, host_name="one", process_pid=8))) == 2
    # Who does not say where it ran may have run there.
    assert len(_counted(wrapper, told("client", "b", 20, 290, host_name="one"))) == 1
    assert len(_counted(wrapper, told("client", "b", 20, 290))) == 1
    hosts = [f"host {n}" for n in range(20)]
    wrappers = [told("framework", host, n / 9, 300, host_name=host) for n, host in enumerate(hosts)]
    clients = [told("client", f"{host} own", 20 - n / 9, 290, host_name=host) for n, host in enumerate(hosts)]
    assert len(_counted(*wrappers, *clients)) == 20


def test_equal_calls_made_at_once_for_many_are_counted_once_each_and_as_theirs() -> None:
    """Clients are asked in another order than their wrappers were, and some of the calls have no wrapper."""

    def made(by: str, call: int, start: float, end: float) -> Span:
        return chat(scope=by, trace=f"{by} {call}", start=start, end=end, attributes={"spanledger.tenant": f"{call % 7}"})

    turns = sorted(range(120), key=lambda call: call * 37 % 113)
    wrappers = [made("wrapper", call, call / 50, 500) for call in range(120) if call % 7 < 5]
    clients = [made("client", call, 20 + at / 50, 490) for at, call in enumerate(turns)]
    calls = standing(entries_of([[body_of(*wrappers, *clients)]]))
    assert len(calls) == 120
    assert sum(call["tenant"] == "3" for call in calls) == 17


@pytest.mark.parametrize("voices", [2, 3])
@pytest.mark.parametrize("calls", [12, 600])
def test_equal_calls_made_at_once_are_counted_once_each_whoever_tells_of_them(calls: int, voices: int) -> None:
    """All wrappers have begun before the first client is asked, and each tells of its calls in traces of their own."""
    spans = [
        chat(scope=f"voice {voice}", trace=f"{voice} {call}", start=30 * voice + call / 40, end=900 - 30 * voice + call / 40)
        for voice in range(voices)
        for call in range(calls)
    ]
    lone = chat(scope="voice 0", trace="lone", start=1, end=901)
    for order in (spans, spans[::-1], spans[::2] + spans[1::2]):
        assert len(standing(entries_of([[body_of(*order)]]))) == calls
        halves = [[body_of(*order[: len(order) // 2])], [body_of(lone, *order[len(order) // 2 :])]]
        assert len(standing(entries_of(halves))) == calls + 1


@pytest.mark.parametrize(
    ("model", "calls"),
    [
        ("gpt-4o-mini-2024-07-18", 1), ("openai/gpt-4o-mini", 1), ("gpt-4o-mini-0718", 1), ("gpt-4o-mini-preview-07-18", 1),
        ("gpt-4o", 2), ("gpt-4o-mini-2", 2), ("gpt-4o-mini-audio", 2),
    ],
)  # fmt: skip
def test_equal_calls_of_models_with_alike_names_are_two(model: str, calls: int) -> None:
    other = chat(id="b", parent="r", scope="client", start=5, end=95, attributes={"gen_ai.request.model": model})
    assert len(_counted(chat(id="a", parent="r"), other)) == calls


@pytest.mark.parametrize(("who", "inside_one"), [("spanledger.tenant", 2), ("user.id", 1), ("session.id", 1)])
def test_equal_calls_for_two_are_two_calls(who: str, inside_one: int) -> None:
    def two(other_trace: str) -> int:
        mine = chat(id="a", parent="r", attributes={who: "one"})
        theirs = chat(id="b", parent="r", trace=other_trace, scope="client", start=5, end=95, attributes={who: "two"})
        return len(_counted(mine, theirs))

    assert two("elsewhere") == 2
    # A trace is one request, whose user two instrumentations may spell in two ways.
    assert two("trace") == inside_one


def test_whom_equal_calls_are_for_may_stand_on_their_resource_or_above_them() -> None:
    mine = chat(trace="a", id="c", parent="r", resource={"tenant.id": "one"})
    theirs = chat(trace="b", id="c", parent="r", scope="client", start=5, end=95, resource={"tenant.id": "two"})
    assert len(_counted(mine, theirs)) == 2
    roots = [
        Span(trace=trace, id="r", scope="http", start=-5, end=300, attributes={"http.route": "/chat", "user.id": user})
        for trace, user in (("a", "one"), ("b", "two"))
    ]
    calls = _counted(*roots, replace(mine, resource={}), replace(theirs, resource={}))
    assert sorted(call["user"] for call in calls) == ["one", "two"]


def test_a_record_that_comes_after_the_one_that_stands_is_told_of_with_the_entry_that_stands_for_it() -> None:
    outer = chat(id="o", scope="openinference.instrumentation.openai")
    inner = chat(id="i", parent="o", start=5, end=95)
    entries = entries_of([[body_of(outer, sequence=1)], [body_of(inner, sequence=2)]])
    call, duplicate = entries.sort("kind").to_dicts()
    assert (call["kind"], duplicate["kind"], duplicate["rule"]) == ("call", "duplicate", "leaf_in_leaf")
    assert duplicate["stands_for"] == call["entry_id"]
    assert duplicate["span_id"] not in (None, call["span_id"])


def test_noughts_of_a_failed_attempt_do_not_take_the_place_of_what_its_caller_used() -> None:
    failed = chat(0, 0, id="i", parent="o", start=5, end=50, failed=True, scope="client")
    calls = {call["outcome"]: call for call in _counted(chat(id="o"), failed)}
    assert (calls["ok"]["input_tokens"], calls["ok"]["output_tokens"]) == (1000, 200)
    assert calls["error"]["input_tokens"] in (0, None)


def test_the_fingerprint_can_be_switched_off() -> None:
    spans = [chat(trace="a", scope="framework", end=300), chat(trace="b", scope="client", start=20, end=290)]
    assert entries_of([[body_of(*spans)]], counting=Counting(fingerprint=False))["calls"].sum() == 2


def test_ids_that_local_servers_hand_out_again_do_not_join_traces() -> None:
    spans = [
        chat(trace=trace, attributes={"gen_ai.response.id": "chatcmpl-123"}, start=at, end=at + 5)
        for at, trace in ((0, "a"), (9000, "b"))
    ]
    assert len(_counted(*spans)) == 2
    strong = [chat(trace=trace, attributes={"gen_ai.response.id": "chatcmpl-B1a9XyZ77"}) for trace in "ab"]
    assert len(_counted(*strong)) == 1


@pytest.mark.parametrize(
    "ids",
    [["unknown"] * 2, ["chatcmpl-None"] * 2, ["00000000-0000-0000-0000-000000000000"] * 2, ["x" * 600 + "a", "x" * 600 + "b"]],
    ids=["word", "none", "noughts", "cut"],
)
def test_ids_that_name_nothing_do_not_join_traces(ids: list[str]) -> None:
    spans = [
        chat(100 * at, trace=f"t{at}", attributes={"gen_ai.response.id": word}, start=5000 * at, end=5000 * at + 100)
        for at, word in enumerate(ids, start=1)
    ]
    assert len(_counted(*spans)) == 2


def test_what_an_agent_knows_goes_to_its_calls_nearest_first() -> None:
    root = Span(id="r", attributes={"spanledger.tenant": "acme", "user.id": "root-user"}, end=500)
    agent = Span(
        id="a",
        parent="r",
        attributes={"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner", "user.id": "ann"},
        end=400,
    )
    (call,) = _counted(root, agent, chat(id="c", parent="a"))
    assert (call["tenant"], call["user"], call["agent"]) == ("acme", "ann", "planner")


def test_late_knowledge_reverses_a_call_and_posts_it_anew() -> None:
    agent = Span(id="a", attributes={"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner"}, end=400)
    entries = entries_of([[body_of(chat(id="c", parent="a"))], [body_of(agent)]])
    assert sorted(entries["kind"]) == ["call", "call", "reversal"]
    assert entries["calls"].sum() == 1
    by_agent = entries.group_by("agent").agg(pl.col("calls", "input_tokens").sum()).sort("agent", nulls_last=True)
    assert by_agent.rows() == [("planner", 1, 1000), (None, 0, 0)]


def test_a_sum_stands_only_after_it_has_waited_and_only_if_nothing_below_it_was_counted() -> None:
    agent = Span(id="a", attributes={"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 2300,
                                     "gen_ai.usage.output_tokens": 290, "gen_ai.request.model": "gpt-4o-mini"})  # fmt: skip
    counter = CountOnce(Counting(quiet=timedelta(minutes=2)))
    assert counter.count(recognise(decode([body_of(agent)])), now=NOW).is_empty()
    assert counter.due(now=NOW + timedelta(minutes=1)).is_empty()
    due = counter.due(now=NOW + timedelta(minutes=3))
    assert due.select("calls", "input_tokens", "granularity").rows() == [(1, 2300, "aggregate")]
    late = counter.count(recognise(decode([body_of(chat(id="c", parent="a"))])), now=NOW + timedelta(minutes=9))
    both = pl.concat([due, late])
    assert both.select(pl.col("calls", "input_tokens").sum()).rows() == [(1, 1000)]


def test_the_outermost_of_sums_without_calls_stands() -> None:
    usage = {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 10, "gen_ai.request.model": "gpt-4o"}
    workflow = Span(id="w", attributes={"gen_ai.operation.name": "invoke_workflow", **usage}, end=500)
    agent = Span(id="a", parent="w", attributes={"gen_ai.operation.name": "invoke_agent", **usage}, end=400)
    assert [call["input_tokens"] for call in _counted(workflow, agent)] == [100]


def test_answers_that_nobody_paid_for_are_no_calls() -> None:
    real = chat(id="r", scope="litellm", attributes={"gen_ai.response.id": "chatcmpl-real0001"})
    again = chat(
        id="h", scope="litellm", trace="b", attributes={"gen_ai.response.id": "chatcmpl-real0001", "litellm.cache_hit": True}
    )
    fetched = Span(trace="c", attributes={"gen_ai.operation.name": "fetch_response", "gen_ai.response.id": "chatcmpl-real0001"})
    counted = Span(trace="d", scope="com.anthropic.sdk.python", name="anthropic.messages.count_tokens", attributes={
        "gen_ai.operation.name": "count_tokens", "gen_ai.usage.input_tokens": 55})  # fmt: skip
    assert len(_counted(real, again, fetched, counted)) == 1


def test_a_failure_is_an_entry_and_a_retry_of_it_is_linked() -> None:
    parent = Span(id="p", attributes={"gen_ai.operation.name": "invoke_agent"}, end=9000)
    spans = [
        chat(None, None, id="1", parent="p", start=0, end=100, failed=True, attributes={"error.type": "429"}),
        chat(None, None, id="2", parent="p", start=500, end=600, failed=True, attributes={"error.type": "429"}),
        chat(id="3", parent="p", start=1500, end=1600),
        chat(id="4", parent="p", start=1700, end=1800),
    ]
    calls = sorted(standing(entries_of([[body_of(parent, *spans)]])), key=lambda call: call["occurred_at"])
    assert [call["attempt"] for call in calls] == [1, 2, 3, None]
    assert {call["first_attempt"] for call in calls[:3]} == {calls[0]["entry_id"]}
    assert [call["error_type"] for call in calls] == ["429", "429", None, None]


def test_a_call_that_was_answered_without_usage_is_counted_and_says_so() -> None:
    (call,) = _counted(chat(None, None, attributes={"gen_ai.response.id": "chatcmpl-silent001"}))
    assert (call["calls"], call["input_tokens"], call["flags"]) == (1, None, ["usage_unknown"])
    assert _counted(chat(None, None)) == []


def test_a_correction_takes_the_tokens_back_whenever_it_comes() -> None:
    def log(event: str, text: str, **more: Any) -> dict[str, Any]:
        told = {
            "cursor.event.id": event,
            "cursor.usage_event.id": "usage-event-1",
            "cursor.model.name": "claude-4.5-sonnet",
            **more,
        }
        return {"timeUnixNano": str(int(NOW.timestamp()) * 10**9), "body": {"stringValue": text}, "attributes": attributes(told)}

    def sent(record: dict[str, Any]) -> Any:
        return received(
            {"resourceLogs": [{"resource": {}, "scopeLogs": [{"scope": {"name": "cursor.telemetry"}, "logRecords": [record]}]}]},
            "logs",
        )

    usage = {
        f"cursor.api.request.{name}_tokens": n
        for name, n in (("input", 300), ("output", 9), ("cache_read", 0), ("cache_creation", 0))
    }
    request = log("e1", "api_request", **usage)
    correction = log("e2", "api_correction_not_billed_errored", **{"cursor.api.correction.kind": "not_billed_errored"})
    for records in ((request, correction), (correction, request)):
        (call,) = standing(entries_of([[sent(record)] for record in records]))
        assert (call["outcome"], call["input_tokens"], call["error_type"]) == ("error", 0, "not_billed_errored")


def _priced(entries: pl.DataFrame) -> pl.DataFrame:
    cost = pl.lit(Decimal("0.5")).cast(pl.Decimal(20, 12))
    call = pl.col("kind") == "call"
    return entries.with_columns(
        pl.when(call).then(cost).otherwise("cost_usd").alias("cost_usd"),
        pl.when(call).then(pl.lit("priced")).otherwise(pl.coalesce("cost_state", pl.lit("free"))).alias("cost_state"),
    )


@pytest.mark.parametrize("restart", [False, True])
def test_a_reversal_takes_back_the_money_that_was_posted(restart: bool, tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "entries")
    older = LedgerEvidence(str(tmp_path / "entries"))
    counter = CountOnce(folder=tmp_path / "evidence", older=older)
    first = _priced(counter.count(recognise(decode([body_of(chat(id="i", parent="o"))])), now=NOW, mark=1))
    ledger.post(conform(first), 1)
    if restart:
        counter = CountOnce(folder=tmp_path / "evidence", mark=1, older=older)
    else:
        counter.posted(1, first)
    agent = Span(id="o", attributes={"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner"})
    second = counter.count(recognise(decode([body_of(agent)])), now=NOW, mark=2)
    (reversal,) = second.filter(pl.col("kind") == "reversal").to_dicts()
    assert (reversal["cost_usd"], reversal["cost_state"], reversal["calls"]) == (Decimal("-0.5"), "priced", -1)


def _log(parent: str) -> Received:
    """A log record about a call, without ids of its own, written inside a span."""
    record = {
        "timeUnixNano": str(int(NOW.timestamp() * 1e9) - 3_599_000_000_000),
        "traceId": hexed("trace", 16),
        "spanId": hexed("trace" + parent, 8),
        "eventName": "gen_ai.client.inference.operation.details",
        "attributes": attributes({"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o-mini",
                                  "gen_ai.usage.input_tokens": 500, "gen_ai.usage.output_tokens": 50}),
    }  # fmt: skip
    resource = {"attributes": attributes({"service.name": "app"})}
    return received({"resourceLogs": [{"resource": resource, "scopeLogs": [{"scope": {}, "logRecords": [record]}]}]}, "logs")


@pytest.mark.parametrize("signal", ["span", "log"])
@pytest.mark.parametrize("learned", [False, True])
def test_what_is_delivered_again_when_memory_has_let_go_of_it_is_not_counted_again(
    signal: str, learned: bool, tmp_path: Path
) -> None:
    ledger = Ledger.open(tmp_path / "entries")
    counter = CountOnce(Counting(rows=4), older=LedgerEvidence(str(tmp_path / "entries")))

    def take(mark: int, *bodies: Received) -> pl.DataFrame:
        entries = _priced(counter.count(recognise(decode(list(bodies))), now=NOW + timedelta(seconds=mark), mark=mark))
        if entries.height:
            ledger.post(conform(entries), mark)
        counter.posted(mark, entries)
        return entries

    call = body_of(chat(500, 50, id="i", parent="o", start=10, end=90)) if signal == "span" else _log("o")
    assert take(1, call)["calls"].to_list() == [1]
    if learned:
        # The agent's span comes later: the call is posted anew, under a second id.
        agent = Span(id="o", attributes={"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner"})
        assert sorted(take(2, body_of(agent))["kind"]) == ["call", "reversal"]
    for again in (20, 30):
        take(again, body_of(*(chat(again * 100 + n, 7, trace=f"{again}-{n}", id="x") for n in range(12))))
        assert take(again + 7, call).is_empty()
        # Whatever else comes of its trace makes what the ledger knew of it be looked at once more.
        tool = Span(id=f"t{again}", parent="o", attributes={"gen_ai.operation.name": "execute_tool"})
        assert take(again + 8, body_of(tool)).is_empty()
    with connect(tmp_path / "entries") as connection:
        found = connection.execute("select sum(calls), max(agent) from entries where input_tokens in (500, -500)").fetchone()
    assert found == (1, "planner" if learned else None)


@pytest.mark.parametrize("lost", ["by merging", "a broken file", "the folder"])
def test_what_is_delivered_again_after_a_restart_is_known_from_the_ledger_where_its_evidence_is_gone(
    lost: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence_files, "MOST_FILES", 2)
    ledger, older = Ledger.open(tmp_path / "entries"), LedgerEvidence(str(tmp_path / "entries"))
    counting = Counting(rows=4) if lost == "by merging" else Counting()
    counter = CountOnce(counting, folder=tmp_path / "evidence", older=older)
    call = body_of(chat(500, 50, id="i", start=10, end=90))
    others = body_of(*(chat(n, 7, trace=f"other-{n}", id="x") for n in range(12)))
    for mark, request in enumerate((call, others), start=1):
        entries = _priced(counter.count(recognise(decode([request])), now=NOW + timedelta(seconds=mark), mark=mark))
        ledger.post(conform(entries), mark)
        counter.posted(mark, entries)
    for path in (tmp_path / "evidence").glob("*.arrow"):
        if lost == "a broken file":
            path.write_bytes(b"not arrow")
        elif lost == "the folder":
            path.unlink()
    restarted = CountOnce(counting, folder=tmp_path / "evidence", mark=2, older=older)
    assert restarted.count(recognise(decode([call])), now=NOW + timedelta(seconds=9), mark=3).is_empty()


def test_files_of_evidence_are_merged_and_a_broken_one_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence_files, "MOST_FILES", 12)
    counter = CountOnce(folder=tmp_path)
    for mark in range(1, 20):
        counter.posted(mark, counter.count(recognise(decode([body_of(chat(trace=str(mark)))])), now=NOW, mark=mark))
    assert len(list(tmp_path.glob("*.arrow"))) < 16
    restarted = CountOnce(folder=tmp_path, mark=19)
    everything = [body_of(chat(trace=str(mark))) for mark in range(1, 20)]
    assert restarted.count(recognise(decode(everything)), now=NOW, mark=20).is_empty()
    for path in tmp_path.glob("*.arrow"):
        path.write_bytes(b"not arrow")
    assert CountOnce(folder=tmp_path, mark=19).count(recognise(decode(everything)), now=NOW, mark=20).height == 19


def test_attributes_of_content_never_reach_the_ledger() -> None:
    secret = "the answer is forty-two"
    span = chat(
        attributes={
            "gen_ai.input.messages": secret,
            "gen_ai.output.messages": secret,
            "llm.prompts": secret,
            "harmless.key": "kept",
        }
    )
    (call,) = standing(entries_of([[body_of(span)]]))
    assert json.loads(call["attributes"]) == {"harmless.key": "kept"}
    assert secret not in json.dumps(call, default=str)


def test_ids_in_the_ledger_are_those_that_were_sent() -> None:
    (call,) = standing(entries_of([[body_of(chat(trace="t", id="s", parent="p"))]]))
    assert (call["trace_id"], call["span_id"], call["parent_span_id"]) == (hexed("t", 16), hexed("ts", 8), hexed("tp", 8))


def test_a_span_that_sums_a_batch_stands_for_its_calls() -> None:
    (call,) = _counted(chat(5000, 900, attributes={"spanledger.batch": True, "spanledger.batch.calls": 40}))
    assert (call["calls"], call["granularity"], call["batch"]) == (40, "aggregate", True)
