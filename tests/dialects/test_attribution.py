"""Whom a call is for is read from wherever it is said: the call, its ancestors nearest first, what repeats it, its scope,
or its resource."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from spanledger.collector.decode.decode import decode
from spanledger.collector.dialects.fields import ATTRIBUTION
from spanledger.collector.received import Received
from spanledger.collector.recognise.attribution import Attribution
from spanledger.collector.recognise.recognise import recognise
from tests.dialects.bodies import received
from tests.dialects.counting import counted, entries_of, standing
from tests.dialects.spans import Log, Span, attributes, body_of, chat, logs_of

_EVENT = "gen_ai.client.inference.operation.details"
_MINE = Attribution(tenant=("customer.id",), user=("who",), tags=(r"label\.(.+)",))


def _call(bodies: Sequence[Received], attribution: Attribution = _MINE) -> dict[str, Any]:
    """The one call of these bodies, each a batch, in this order and in reverse."""
    found = [
        standing(counted([recognise(decode([body], attribution.bytes), attribution) for body in order]))
        for order in (bodies, list(reversed(bodies)))
    ]
    assert [len(calls) for calls in found] == [1, 1]
    assert {call["tenant"] for calls in found for call in calls} == {found[0][0]["tenant"]}
    return found[0][0]


_SAID = {"customer.id": "c1"}
_CHAT = chat().attributes
_REPEATED = Log(event=_EVENT, scope="other", at=280, attributes={**_CHAT, **_SAID})


@pytest.mark.parametrize(
    "bodies",
    [
        pytest.param([body_of(chat(attributes=_SAID))], id="the call's span"),
        pytest.param([body_of(chat(resource=_SAID))], id="its resource"),
        pytest.param([body_of(chat(scope_attributes=_SAID))], id="its scope"),
        pytest.param([logs_of(Log(event=_EVENT, attributes={**_CHAT, **_SAID}))], id="the call's log record"),
        pytest.param([logs_of(Log(event=_EVENT, attributes=_CHAT, resource=_SAID))], id="the resource of a log record"),
        pytest.param([body_of(chat(id="c", parent="w")), body_of(Span(id="w", scope="http.server", attributes=_SAID))],
                     id="a span that says nothing of models"),
        pytest.param([logs_of(Log(event=_EVENT, attributes=_CHAT, trace="trace", inside="w")),
                      body_of(Span(id="w", attributes=_SAID))], id="the span in which a log record was written"),
        pytest.param([body_of(chat(id="c", end=290)), logs_of(_REPEATED)],
                     id="a log record that repeats a span"),
        pytest.param([body_of(chat(id="c", end=290)),
                      body_of(chat(id="d", trace="other", scope="other", start=5, end=280, parent="w")),
                      body_of(Span(id="w", trace="other", attributes=_SAID))], id="an ancestor of a duplicate in another trace"),
    ],
)  # fmt: skip
def test_a_tenant_is_found_wherever_it_is_said(bodies: Sequence[Received]) -> None:
    call = _call(bodies)
    assert (call["tenant"], call["input_tokens"]) == ("c1", 1000)


def test_the_nearest_one_that_says_it_is_believed() -> None:
    """Each step says who it is, and one after the other falls silent."""
    steps = ["call", "agent", "root", "scope", "resource"]
    for silent in range(len(steps)):
        told = {step: {"who": step} if at >= silent else {} for at, step in enumerate(steps)}
        call = chat(id="c", parent="a", attributes=told["call"], scope_attributes=told["scope"], resource=told["resource"])
        agent = Span(id="a", parent="r", attributes={"gen_ai.operation.name": "invoke_agent", **told["agent"]})
        root = Span(id="r", attributes=told["root"])
        assert _call([body_of(call), body_of(agent), body_of(root)])["user"] == steps[silent]


@pytest.mark.parametrize("dimension", ["tenant", "project", "user", "agent", "session"])
def test_what_baggage_carries_is_read_where_a_processor_puts_it_on_spans_and_logs(dimension: str) -> None:
    """The SDKs' baggage processors copy entries under their own names."""
    said = {f"spanledger.{dimension}": "b1", "spanledger.tag.team": "red"}
    for body in (body_of(chat(attributes=said)), logs_of(Log(event=_EVENT, attributes={**_CHAT, **said}))):
        call = _call([body], Attribution())
        assert (call[dimension], call["tags"]) == ("b1", [{"key": "team", "value": "red"}])


def test_every_attribute_of_the_defaults_is_read() -> None:
    pairs = [(who, name) for who, names in ATTRIBUTION.items() for name in names]
    spans = []
    for _, name in pairs:
        said = {"metadata": f'{{"{name.partition(":")[2]}": "{name}"}}'} if ":" in name else {name: name}
        spans.append(chat(trace=name, attributes=said))
    rows = recognise(decode([body_of(*spans)])).to_dicts()
    assert [(who, name) for (who, name), row in zip(pairs, rows, strict=True) if row[who] != name] == []


def test_labels_of_a_resource_are_none_of_its_calls_and_harm_nothing() -> None:
    assert _call([body_of(chat(resource={"metadata": '{"tenant": "acme"}', "tag.tags": ["a"]}))], Attribution())["tenant"] is None


def test_a_configured_attribute_goes_before_the_defaults_and_can_stand_alone() -> None:
    both = chat(attributes={"customer.id": "c1", "spanledger.tenant": "other", "label.team": "search", "spanledger.tag.x": "1"})
    first = _call([body_of(both)])
    assert (first["tenant"], [tag["key"] for tag in first["tags"]]) == ("c1", ["team", "x"])
    alone = _call([body_of(chat(attributes={"spanledger.tenant": "other"}))], Attribution(with_defaults=False))
    assert (alone["tenant"], alone["tags"]) == (None, [])


def test_a_tag_pattern_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a group"):
        Attribution(tags=("label",))
    with pytest.raises(ValueError, match="no regular expression"):
        Attribution(tags=("(",))


def test_a_point_of_a_metric_says_whom_its_calls_are_for() -> None:
    point = {"timeUnixNano": str(1_795_000_000 * 10**9), "count": "2", "sum": 100, "attributes": attributes(
        {"gen_ai.token.type": "input", "gen_ai.request.model": "gpt-4o", "gen_ai.system": "openai",
         "spanledger.tenant": "acme"})}  # fmt: skip
    metric = {"name": "gen_ai.client.token.usage", "histogram": {"aggregationTemporality": 1, "dataPoints": [point]}}
    scoped = {"scope": {"name": "x"}, "metrics": [metric]}
    body = received({"resourceMetrics": [{"resource": {"attributes": attributes({"user.id": "ann"})}, "scopeMetrics": [scoped]}]},
                    "metrics")  # fmt: skip
    (call,) = standing(entries_of([[body]]))
    assert (call["tenant"], call["user"], call["calls"]) == ("acme", "ann", 2)


def test_what_a_duplicate_knew_alone_stands_on_the_entry_that_stands() -> None:
    """Tenant, user, agent and session, the reported cost, details of cache and reasoning, lifetimes of what was cached."""
    wrapper = chat(id="o", scope="framework", end=300, attributes={
        "spanledger.tenant": "acme", "user.id": "ann", "gen_ai.agent.name": "planner", "gen_ai.conversation.id": "s1",
        "operation.cost": 0.0125, "label.team": "red"})  # fmt: skip
    inner = chat(id="i", scope="client", parent="o", start=10, end=290, attributes={
        "gen_ai.usage.cache_read.input_tokens": 600, "gen_ai.usage.cache_write.input_tokens": 100,
        "anthropic.usage.cache_creation.ephemeral_5m_input_tokens": 60, "gen_ai.response.id": "resp_inner_01",
        "gen_ai.usage.reasoning.output_tokens": 128, "openai.response.service_tier": "flex", "label.cell": "7"})  # fmt: skip
    call = _call([body_of(wrapper), body_of(inner)])
    assert (call["tenant"], call["user"], call["agent"], call["session"]) == ("acme", "ann", "planner", "s1")
    assert (float(call["reported_cost_usd"]), call["service_tier"], call["response_id"]) == (0.0125, "flex", "resp_inner_01")
    assert (call["cache_read_tokens"], call["cache_write_5m_tokens"], call["cache_write_1h_tokens"]) == (600, 60, 40)
    assert (call["reasoning_tokens"], [tag["key"] for tag in call["tags"]]) == (128, ["cell", "team"])


def test_whose_account_pays_says_whom_a_call_is_for_only_where_nobody_else_does() -> None:
    """Anthropic's SDK names the account on each span, whoever the call is for: taken for a tenant, it made two calls of one."""
    account = {
        "anthropic.organization.id": "org-9", "anthropic.workspace.id": "wrk-1", "gen_ai.response.id": "msg_01AbCdEfGh",
    }  # fmt: skip
    call = Span(scope="com.anthropic.sdk.python", id="i", trace="own", start=10, end=290, attributes=chat(attributes={
        "gen_ai.provider.name": "anthropic", "gen_ai.request.model": "claude-sonnet-4-5", **account}).attributes)  # fmt: skip
    wrapper = Span(scope="openinference.instrumentation.langchain", id="o", end=300, attributes={
        "openinference.span.kind": "LLM", "llm.model_name": "claude-sonnet-4-5", "llm.token_count.prompt": 1000,
        "llm.token_count.completion": 200})  # fmt: skip
    of_acme = {"tenant": "acme"}
    cases = {
        ("org-9", "wrk-1"): [call],
        ("acme", "wrk-1"): [replace(call, resource=of_acme), replace(wrapper, resource=of_acme)],
        ("acme", "chat"): [replace(call, parent="a"), Span(id="a", trace="own", end=400, attributes={
            "spanledger.tenant": "acme", "spanledger.project": "chat"})],
    }  # fmt: skip
    for whom, spans in cases.items():
        for order in (spans, spans[::-1]):
            (stands,) = standing(entries_of([[body_of(span)] for span in order]))
            assert (stands["tenant"], stands["project"]) == whom
