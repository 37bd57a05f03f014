"""What spans around calls sum up, as each emitter writes it, is a call only where it must be."""

import json
from typing import Any

import pytest

from tests.dialects.counting import entries_of, standing
from tests.dialects.described import of, usage
from tests.dialects.spans import Span, body_of

_AGGREGATED = "gen_ai.aggregated_usage"
_MLFLOW = json.dumps({"input_tokens": 1000, "output_tokens": 200, "cache_read_input_tokens": 600})


def _pydantic(**fields: Any) -> Span:
    return Span(scope="pydantic-ai", version="2.68.0", **fields)


def _mlflow(**fields: Any) -> Span:
    return Span(scope="mlflow.tracing.provider", **fields)


@pytest.mark.parametrize(
    ("summed", "leaf"),
    [
        (
            _pydantic(id="a", end=300, attributes={
                "gen_ai.operation.name": "invoke_agent", "model_name": "gpt-4o-mini", f"{_AGGREGATED}.input_tokens": 1000,
                f"{_AGGREGATED}.output_tokens": 200, f"{_AGGREGATED}.cache_read.input_tokens": 600}),
            _pydantic(id="c", parent="a", start=1, attributes=of(
                "openai", "gpt-4o-mini", usage(1000, 200, **{"gen_ai.usage.cache_read.input_tokens": 600}))),
        ),
        (
            _mlflow(id="a", end=300, attributes={"mlflow.spanType": '"AGENT"', "mlflow.trace.tokenUsage": _MLFLOW}),
            _mlflow(id="c", parent="a", start=1, attributes={
                "mlflow.spanType": '"CHAT_MODEL"', "mlflow.llm.model": '"gpt-4o-mini"', "mlflow.chat.tokenUsage": _MLFLOW}),
        ),
    ],
)  # fmt: skip
def test_a_sum_under_a_name_of_its_own_stands_where_no_call_below_it_was_told_of(summed: Span, leaf: Span) -> None:
    for spans, granularity in (([summed], "aggregate"), ([leaf, summed], "call")):
        (call,) = standing(entries_of([[body_of(span)] for span in spans]))
        told = tuple(call[name] for name in ("granularity", "input_tokens", "cache_read_tokens", "output_tokens"))
        assert told == (granularity, 1000, 600, 200)


def test_a_strands_agents_sum_over_its_whole_life_is_never_a_call() -> None:
    agent = Span(scope="strands.telemetry.tracer", attributes={"gen_ai.operation.name": "invoke_agent",
        "gen_ai.request.model": "gpt-4o-mini", "gen_ai.usage.input_tokens": 2300, "gen_ai.usage.output_tokens": 290})  # fmt: skip
    assert standing(entries_of([[body_of(agent)]])) == []


def test_a_sum_of_which_only_the_last_call_is_told_stands_alone_and_says_so() -> None:
    generated = Span(scope="ai", attributes={"ai.operationId": "ai.generateText", "ai.model.id": "gpt-4o-mini",
        "ai.model.provider": "openai.chat", "ai.usage.promptTokens": 1300, "ai.usage.completionTokens": 90})  # fmt: skip
    (call,) = standing(entries_of([[body_of(generated)]]))
    assert (call["granularity"], call["flags"]) == ("aggregate", ["partial_sum"])
