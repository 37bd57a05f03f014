"""Coding agents and frameworks of which there is no sample of that case: written from their documents and sources."""

import random
from typing import Any

import polars as pl
import pytest

from tests.dialects.counting import entries_of, standing
from tests.dialects.described import CLAUDE, of, usage
from tests.dialects.spans import Log, Span, body_of, chat, hexed, logs_of

_DETAILS = "gen_ai.client.inference.operation.details"


def _calls(*logs: Log) -> list[dict[str, Any]]:
    return sorted(standing(entries_of([[logs_of(*logs)]])), key=lambda call: call["occurred_at"])


def _claude(name: str, **attributes: Any) -> Log:
    own = {"event.name": name, "model": CLAUDE, "session.id": "s1", "user.id": "hash", "user.email": "ann@example.com",
           "organization.id": "org-1"}  # fmt: skip
    return Log(scope="com.anthropic.claude_code.events", text=f"claude_code.{name}", attributes={**own, **attributes})


def test_claude_code_says_counts_as_text_and_its_span_and_answer_say_the_same_call() -> None:
    tokens = {"input_tokens": "300", "output_tokens": "200", "cache_read_tokens": "600", "cache_creation_tokens": "100"}
    request = _claude("api_request", **tokens, request_id="req_01", cost_usd="0.0045", duration_ms="900",
                      query_source="repl_main_thread", cache_creation_5m_tokens=60, cache_creation_1h_tokens=40)  # fmt: skip
    answer = _claude("assistant_response", request_id="req_01")
    span = Span(scope="com.anthropic.claude_code.tracing", name="claude_code.llm_request", attributes={
        "gen_ai.request.model": CLAUDE, "gen_ai.response.id": "req_01", "input_tokens": 300, "output_tokens": 200})  # fmt: skip
    entries = entries_of([[body_of(span)], [logs_of(request, answer)]])
    (call,) = standing(entries)
    assert (call["input_tokens"], call["cache_read_tokens"], call["cache_write_1h_tokens"]) == (1000, 600, 40)
    assert (call["tenant"], call["user"], call["session"], call["agent"]) == ("org-1", "hash", "s1", "repl_main_thread")
    assert float(call["reported_cost_usd"]) == 0.0045
    assert entries["calls"].sum() == 1


def test_claude_codes_refused_attempts_are_failed_calls_with_their_number() -> None:
    failed = _claude("api_error", error="overloaded", status_code=529, attempt=2, duration_ms=100)
    (call,) = _calls(failed)
    assert (call["outcome"], call["error_type"], call["attempt"], call["input_tokens"]) == ("error", "529", 2, None)


def _codex(name: str, **attributes: Any) -> Log:
    return Log(scope="codex_otel.log_only", event="core/src/otel.rs:120", attributes={
        "event.name": name, "conversation.id": "c1", "model": "gpt-5-codex", "user.email": "ann@example.com", **attributes},
        at=float(attributes.get("attempt", 0)) * 300 + 100)  # fmt: skip


def test_codex_says_a_completion_twice_and_only_one_has_tokens() -> None:
    done = {"event.kind": "response.completed", "input_token_count": "1000", "output_token_count": "200",
            "cached_token_count": 600, "cache_write_token_count": 100, "reasoning_token_count": 128,
            "tool_token_count": "1200"}  # fmt: skip
    (call,) = _calls(
        _codex("codex.sse_event", **done),
        _codex("codex.sse_event", **{"event.kind": "response.completed"}),
        _codex("codex.api_request", attempt=1, **{"http.response.status_code": 200, "duration_ms": "80"}),
    )
    assert (call["input_tokens"], call["output_tokens"], call["reasoning_tokens"]) == (1000, 200, 128)
    assert (call["session"], call["user"], call["flags"]) == ("c1", "ann@example.com", [])


def test_codexs_refused_requests_are_failed_calls_and_answered_ones_are_told_by_their_stream() -> None:
    refused = _codex("codex.api_request", attempt=1, **{"http.response.status_code": 429, "error.message": "slow down"})
    answered = _codex("codex.api_request", attempt=2, **{"http.response.status_code": 200})
    (call,) = _calls(refused, answered)
    assert (call["outcome"], call["attempt"], call["model"]) == ("error", 1, "gpt-5-codex")


def test_gemini_clis_three_records_of_a_call_are_one_with_thoughts_and_cache() -> None:
    model = {"model": "gemini-2.5-pro", "session.id": "s1", "user.email": "ann@example.com"}
    authority = Log(scope="gemini-cli", at=300, attributes={
        "event.name": "gemini_cli.api_response", **model, "input_token_count": 1000, "output_token_count": 72, "duration_ms": 250,
        "cached_content_token_count": 600, "thoughts_token_count": 128, "tool_token_count": 0, "total_token_count": 1200,
        "status_code": 200, "role": "main"})  # fmt: skip
    event = Log(scope="gemini-cli", at=300, attributes={
        "event.name": _DETAILS, "gen_ai.request.model": "gemini-2.5-pro", "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 72, "gen_ai.response.id": "abcdEFGH1234"})  # fmt: skip
    (call,) = _calls(authority, event)
    assert (call["input_tokens"], call["output_tokens"], call["reasoning_tokens"]) == (1000, 200, 128)
    assert (call["cache_read_tokens"], call["response_id"], call["agent"]) == (600, "abcdEFGH1234", "main")
    refused = {"event.name": "gemini_cli.api_error", **model, "error_type": "RESOURCE_EXHAUSTED", "status_code": 429}
    (failed,) = _calls(Log(scope="gemini-cli", attributes=refused))
    assert (failed["outcome"], failed["error_type"]) == ("error", "RESOURCE_EXHAUSTED")


def test_gemini_clis_records_are_one_call_though_only_one_of_them_knows_what_tools_brought() -> None:
    who: dict[str, Any] = {"scope": "gemini-cli", "service": "gemini-cli"}
    counts = {"gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 72, "gen_ai.request.model": "gemini-2.5-flash"}
    answer = Log(event="gemini_cli.api_response", attributes={
        "event.name": "gemini_cli.api_response", "model": "gemini-2.5-flash", "input_token_count": 1000,
        "output_token_count": 72, "thoughts_token_count": 128, "tool_token_count": 50, "duration_ms": 100}, **who)  # fmt: skip
    event = Log(event=_DETAILS, attributes={"event.name": _DETAILS, **counts, "gen_ai.response.id": "kJ8xaNTo1Z"}, **who)
    span = Span(name="llm_call", attributes={"gen_ai.operation.name": "llm_call", **counts}, **who)
    for batches in ([[logs_of(answer, event), body_of(span)]], [[body_of(span)], [logs_of(event)], [logs_of(answer)]]):
        (call,) = standing(entries_of(batches))
        assert (call["input_tokens"], call["output_tokens"], call["response_id"]) == (1050, 200, "kJ8xaNTo1Z")


def test_a_call_that_was_compacted_and_its_wrapper_in_another_trace_are_one() -> None:
    compacted = {f"anthropic.usage.compaction.{name}_tokens": 90 for name in ("input", "output")}
    inner = Span(scope="com.anthropic.sdk.python", trace="inner", start=10, end=90,
                 attributes={**of("anthropic", CLAUDE, usage(1000, 200)), **compacted})  # fmt: skip
    outer = Span(scope="openinference.instrumentation.langchain", attributes={
        "openinference.span.kind": "LLM", "llm.model_name": CLAUDE, "llm.token_count.prompt": 1000,
        "llm.token_count.completion": 200})  # fmt: skip
    (call,) = standing(entries_of([[body_of(outer)], [body_of(inner)]]))
    assert (call["input_tokens"], call["output_tokens"]) == (1090, 290)


def test_vs_code_copilots_span_and_event_are_one_call_and_its_turns_and_summaries_are_none() -> None:
    tokens = {"gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 200}
    who = {"gen_ai.provider.name": "github", "gen_ai.response.model": "gpt-5-mini", "gen_ai.response.id": "resp_vscode_01"}
    call = Span(scope="copilot-chat", id="c", parent="a", attributes={
        "gen_ai.operation.name": "chat", **who, **tokens, "gen_ai.usage.reasoning_tokens": 128})  # fmt: skip
    agent = Span(scope="copilot-chat", id="a", end=200, attributes={
        "gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "copilot", **tokens})  # fmt: skip
    said = [
        Log(scope="copilot-chat", at=at, attributes={"event.name": name, **(who if name == _DETAILS else {}), **tokens})
        for at, name in ((100, _DETAILS), (120, "copilot_chat.agent.turn"), (130, "copilot_chat.summarization"))
    ]
    entries = entries_of([[logs_of(*said)], [body_of(call, agent)]])
    (found,) = standing(entries)
    assert (found["provider"], found["agent"], found["reasoning_tokens"]) == ("openai", "copilot", 128)
    assert set(entries.filter(pl.col("kind") == "duplicate")["rule"]) >= {"repeat"}


def test_google_genais_event_with_its_spans_ids_and_its_span_are_one_call() -> None:
    attributes = of("gemini", "gemini-2.5-flash", {**usage(1000, 200), "gen_ai.operation.name": "generate_content"})
    span = Span(scope="opentelemetry.instrumentation.google_genai", id="g", attributes=attributes)
    event = Log(
        scope="opentelemetry.instrumentation.google_genai", event=_DETAILS, trace="trace", inside="g", attributes=attributes
    )
    for batches in ([[body_of(span)], [logs_of(event)]], [[logs_of(event)], [body_of(span)]]):
        assert len(standing(entries_of(batches))) == 1


def test_litellms_call_takes_the_real_id_and_the_details_from_what_its_provider_answered() -> None:
    outer = Span(scope="litellm", name="litellm_request", id="o", attributes=of("anthropic", CLAUDE, {
        **usage(1000, 200), "gen_ai.response.id": "chatcmpl-11111111", "gen_ai.cost.total_cost": 0.004545,
        "metadata.user_api_key_team_id": "team-1"}))  # fmt: skip
    answer = {"input_tokens": 300, "cache_read_input_tokens": 600, "cache_creation_input_tokens": 100, "output_tokens": 200}
    inner = Span(scope="litellm", name="raw_gen_ai_request", id="i", parent="o", end=90, attributes={
        "llm.anthropic.id": "msg_0123456789", "llm.anthropic.model": CLAUDE, "llm.anthropic.usage": str(answer)})  # fmt: skip
    (call,) = standing(entries_of([[body_of(outer)], [body_of(inner)]]))
    assert (call["response_id"], call["cache_read_tokens"], call["cache_write_tokens"]) == ("msg_0123456789", 600, 100)
    assert (call["tenant"], float(call["reported_cost_usd"]), call["input_tokens"]) == ("team-1", 0.004545, 1000)


def test_a_projects_key_on_langfuses_scope_names_the_project_and_the_spans_own_word_goes_before_it() -> None:
    def generation(**attributes: Any) -> Span:
        told = {"langfuse.observation.type": "generation", "langfuse.observation.model.name": "gpt-4o-mini",
                "langfuse.observation.usage_details": '{"input": 10, "output": 5}',
                "langfuse.environment": "staging"}  # fmt: skip
        return Span(scope="langfuse-sdk", scope_attributes={"public_key": "pk-lf-1"}, attributes={**told, **attributes})

    (call,) = standing(entries_of([[body_of(generation())]]))
    assert (call["project"], call["environment"]) == ("pk-lf-1", "staging")
    (call,) = standing(entries_of([[body_of(generation(**{"langfuse.trace.metadata.project": '"chat"'}))]]))
    assert call["project"] == "chat"


def _crew(version: str) -> list[dict[str, Any]]:
    """Two agents below one crew, three calls through one LLM object, as the AWS distribution tells them."""
    spans = [
        Span(scope="amazon.opentelemetry.distro.instrumentation.crewai", version=version, id=str(n), parent=parent,
             start=n * 100, end=n * 100 + 50, attributes=of("openai", "gpt-4o-mini", usage(*tokens)))
        for n, (parent, tokens) in enumerate((("a", (1000, 200)), ("a", (2300, 290)), ("b", (2400, 300))))
    ]  # fmt: skip
    return sorted(standing(entries_of([[body_of(span)] for span in reversed(spans)])), key=lambda call: call["occurred_at"])


def test_calls_of_crewai_in_old_aws_distributions_are_taken_out_of_their_running_sum() -> None:
    assert [call["input_tokens"] for call in _crew("0.18.0")] == [1000, 1300, 100]
    assert [call["input_tokens"] for call in _crew("0.21.0")] == [1000, 2300, 2400]


@pytest.mark.parametrize(
    ("provider", "calls", "read"),
    [
        ("openai", [(1000, "TOOL_CALLS", 0), (2300, "STOP", 200), (3000, "STOP", 400)], [1000, 1300, 3000]),
        # One call of the model after another, in no loop; one beside the other.
        ("openai", [(100, "STOP", 0), (5000, "STOP", 200)], [100, 5000]),
        ("openai", [(100, "TOOL_CALLS", 0), (5000, "STOP", 50)], [100, 5000]),
        ("anthropic", [(300, "tool_use", 0), (350, "end_turn", 200)], [300, 50]),
        # Gemini and Ollama end in the same words, also where they ask for a tool.
        ("vertex_ai", [(1000, "STOP", 0), (2300, "STOP", 200), (2400, "STOP", 400)], [1000, 1300, 2400]),
    ],
)
def test_calls_of_spring_1_are_taken_out_of_the_sum_of_their_loop_alone(
    provider: str, calls: list[tuple[int, str, int]], read: list[int]
) -> None:
    spans = [
        Span(scope="org.springframework.boot", version="3.5.0", id=str(at), parent="request", start=at, end=at + 100,
             attributes=of(provider, "some-model", usage(str(tokens), "9", **{"gen_ai.response.finish_reasons": f'["{end}"]'})))
        for tokens, end, at in calls
    ]  # fmt: skip
    found = standing(entries_of([[body_of(span)] for span in reversed(spans)]))
    assert [call["input_tokens"] for call in sorted(found, key=lambda call: call["occurred_at"])] == read


def _beside_each_other(number: int) -> tuple[list[Span], int, int]:
    """Two to four loops below one span of a trace of that number, with what they read and wrote. All begin together, then a turn
    of any of them comes after another; what a call read is read again by the next of its loop."""
    order = random.Random(number)
    length = [order.randint(1, 4) for _ in range(order.randint(2, 4))]
    again = [loop for loop, turns in enumerate(length) for _ in range(turns - 1)]
    left, summed, due, spans = list(length), [(0, 0, 0)] * len(length), [0, 0], []
    for at, loop in enumerate([*range(len(length)), *order.sample(again, len(again))]):
        (read, written, own), wrote = summed[loop], order.randint(1, 90)
        own += order.randint(1, 500)
        summed[loop], left[loop] = (read + own, written + wrote, own), left[loop] - 1
        due = [due[0] + own, due[1] + wrote]
        start, ends = at if at < len(length) else 500 * at, "TOOL_CALLS" if left[loop] else "STOP"
        tokens = usage(str(read + own), str(written + wrote), **{"gen_ai.response.finish_reasons": f'["{ends}"]'})
        spans.append(Span(scope="org.springframework.boot", version="3.5.0", id=str(at), parent="request", trace=str(number),
                          start=start, end=start + 400, attributes=of("openai", "some-model", tokens)))  # fmt: skip
    return spans, due[0], due[1]


def test_loops_of_spring_1_beside_each_other_below_one_span_come_to_what_was_charged() -> None:
    told = [_beside_each_other(number) for number in range(100)]
    found = standing(entries_of([[body_of(*(span for spans, _, _ in told for span in spans))]]))
    for number, (_, read, written) in enumerate(told):
        calls = [call for call in found if call["trace_id"] == hexed(str(number), 16)]
        assert (sum(call["input_tokens"] for call in calls), sum(call["output_tokens"] for call in calls)) == (read, written), (
            number
        )


@pytest.mark.parametrize(
    ("span", "flags"),
    [
        (Span(scope="strands.telemetry.tracer", name="Model invoke", attributes=of("strands-agents", CLAUDE, usage(300, 9))),
         {"cache_unknown", "detail_lost"}),
        (Span(scope="opentelemetry.instrumentation.openai.v1", version="0.33.12", attributes={
            **of("OpenAI", "gpt-4o-mini", {}), "llm.request.type": "chat", "gen_ai.usage.prompt_tokens": 9,
            "gen_ai.usage.completion_tokens": 9}), {"detail_lost"}),
        (Span(scope="mlflow.tracing.provider", attributes={"gen_ai.request.model": "gpt-4o-mini", **usage(9, 9)}),
         {"detail_lost"}),
        (Span(scope="org.springframework.boot", version="3.5.0", attributes=of("anthropic", CLAUDE, usage("9", "9"))),
         {"cache_unknown", "detail_lost"}),
        (Span(scope="ai", attributes={"ai.operationId": "ai.streamText.doStream", "ai.model.id": "gpt-4o", "ai.response.id": "x9",
              "ai.usage.promptTokens": float("nan"), "ai.usage.completionTokens": float("nan")}), {"usage_unknown"}),
        (Span(scope="opentelemetry.instrumentation.openai.v1", version="0.33.12", attributes={
            "llm.request.type": "chat", "gen_ai.response.model": "gpt-4o-mini"}), {"usage_unknown"}),
        (Span(scope="openlit.bedrock", attributes=of("aws.bedrock", CLAUDE, usage(300, 9,
            **{"gen_ai.usage.cache_read.input_tokens": 100}))), {"semantics_assumed"}),
        (Span(scope="com.anthropic.sdk.python", attributes=of("aws.bedrock", CLAUDE, usage(1000, 9,
            **{"gen_ai.usage.cache_read.input_tokens": 100}))), {"semantics_assumed"}),
    ],
)  # fmt: skip
def test_what_an_emitter_does_not_tell_is_flagged(span: Span, flags: set[str]) -> None:
    (call,) = standing(entries_of([[body_of(span)]]))
    assert set(call["flags"]) == flags


@pytest.mark.parametrize(
    "span",
    [
        Span(scope="com.anthropic.sdk.go", name="Messages.CountTokens", attributes={
            "gen_ai.request.model": CLAUDE, "anthropic.message.count_tokens.input_tokens": 55}),
        Span(scope="com.anthropic.sdk.go", name="Batches.New", attributes={"anthropic.message.batch.request_count": 3}),
        Span(attributes={**usage(9, 9), "gen_ai.operation.name": "execute_tool"}),
        *(chat(attributes={"gen_ai.operation.name": name}) for name in ("fetch_response", "count_tokens", "execute_tool")),
        *(chat(None, None, attributes={"gen_ai.operation.name": name, "gen_ai.response.id": "x"}) for name in (
            "agent_step", "execute_event_loop_cycle", "execute_task", "chain", "orchestrate_tools", "framework", "content_event",
            "execute_hook", "realtime", "retrieval", "create_agent", "plan", "create_memory", "search_memory",
            "handle_conversation_turn")),
    ],
)  # fmt: skip
def test_what_nobody_is_billed_for_is_no_call(span: Span) -> None:
    assert standing(entries_of([[body_of(span)]])) == []


def test_cursors_events_are_known_by_their_id_however_they_are_delivered_again() -> None:
    def failed(event: str, at: float) -> Log:
        told = {"cursor.event.id": event, "cursor.model.name": "claude-4.5-sonnet", "cursor.api.billable": False}
        return Log(scope="cursor.telemetry", text="api_error", at=at, attributes=told)

    entries = entries_of([[logs_of(failed("e1", 100), failed("e2", 5000))], [logs_of(failed("e1", 90_000))]])
    assert entries.select("kind", "outcome", "model").rows() == [("call", "error", "claude-4.5-sonnet")] * 2


@pytest.mark.parametrize("event", ["", "cursor.api."])
def test_cursors_records_are_known_by_their_body_and_by_the_name_of_their_event(event: str) -> None:
    def said(kind: str, name: str, usage_event: str, at: float, **told: Any) -> Log:
        own = {"cursor.event.id": kind + usage_event, "cursor.usage_event.id": f"usage-event-{usage_event}",
               "cursor.model.name": "claude-4.5-sonnet", **told}  # fmt: skip
        return Log(scope="cursor.telemetry", text=kind, event=event and event + name, at=at, attributes=own)

    counts = {f"cursor.api.request.{name}_tokens": n for name, n in
              (("input", 300), ("output", 200), ("cache_read", 600), ("cache_creation", 100))}  # fmt: skip
    calls = _calls(
        said("api_request", "request", "1", 100, **counts),
        said("api_error", "error", "2", 200),
        said("api_request", "request", "3", 300, **counts),
        said("api_correction_not_billed_errored", "correction", "3", 400, **{"cursor.api.correction.kind": "not_billed_errored"}),
    )
    assert [(call["outcome"], call["input_tokens"]) for call in calls] == [("ok", 1000), ("error", None), ("error", 0)]


def test_an_event_that_tells_of_an_agent_is_no_call() -> None:
    calls = [chat(id=name, parent="agent", attributes={"gen_ai.operation.name": "chat"}) for name in ("one", "two")]
    agent = chat(2000, 400, id="agent", end=200, attributes={"gen_ai.operation.name": "invoke_agent"})
    event = Log(event=_DETAILS, trace="trace", inside="agent", attributes=agent.attributes, at=200)
    found = standing(entries_of([[body_of(*calls, agent), logs_of(event)]]))
    assert [call["input_tokens"] for call in found] == [1000, 1000]


def test_an_answer_of_vercel_7_without_usage_is_a_call() -> None:
    told = of("openai", "gpt-4o-mini", {"gen_ai.operation.name": "chat", "gen_ai.response.id": "chatcmpl-AbCdEf123"})
    (call,) = standing(entries_of([[body_of(Span(scope="gen_ai", attributes=told))]]))
    assert call["flags"] == ["usage_unknown"]
