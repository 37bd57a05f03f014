"""Attempts of one logical call are linked, so that what retries cost can be asked for, whatever comes first."""

from itertools import permutations
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from spanledger.ledger.connect import connect
from spanledger.ledger.frame import conform
from spanledger.ledger.table import Ledger
from tests.dialects.counting import entries_of, standing
from tests.dialects.spans import Span, body_of, chat

#: An agent that pays for a failed stream, is refused, and is answered; then it asks again.
_SPANS = (
    Span(id="p", attributes={"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner"}, end=9000),
    chat(700, 10, id="1", parent="p", start=0, end=100, failed=True, attributes={"error.type": "stream"}),
    chat(None, None, id="2", parent="p", start=500, end=600, failed=True, attributes={"error.type": "429"}),
    chat(id="3", parent="p", start=1500, end=1600),
    chat(id="4", parent="p", start=1700, end=1800),
)


_BY = ("attempt", "agent", "outcome", "error_type")


def _by_attempt(entries: pl.DataFrame) -> list[tuple[Any, ...]]:
    summed = entries.group_by(_BY).agg(pl.col("calls", "input_tokens").sum()).sort(_BY)
    return summed.filter((pl.col("calls") != 0) | (pl.col("input_tokens") != 0)).rows()


def test_attempts_under_one_id_of_a_gateway_are_attempts_and_its_callback_registered_twice_is_one_call() -> None:
    gateway: dict[str, Any] = {"scope": "litellm", "parent": "proxy", "attributes": {"litellm.call_id": "c0ffee-1"}}
    failed = chat(None, None, id="first", failed=True, **gateway)
    answered = {"litellm.call_id": "c0ffee-1", "gen_ai.response.id": "chatcmpl-AbCdEf1"}
    again = {**gateway, "attributes": answered, "start": 200, "end": 300}
    spans = [failed, chat(id="second", **again), chat(id="second, told again", **again)]
    for order in (spans, spans[::-1]):
        calls = sorted(standing(entries_of([[body_of(span)] for span in order])), key=lambda call: call["attempt"])
        assert [(call["outcome"], call["attempt"], call["input_tokens"]) for call in calls] == [
            ("error", 1, None),
            ("ok", 2, 1000),
        ]
        assert len({call["first_attempt"] for call in calls}) == 1


@pytest.mark.parametrize("order", list(permutations(range(len(_SPANS))))[::17])
def test_sums_by_attempt_are_the_same_whatever_arrives_first(order: tuple[int, ...]) -> None:
    entries = entries_of([[body_of(_SPANS[at])] for at in order])
    assert _by_attempt(entries) == [
        (None, "planner", "ok", None, 1, 1000),
        (1, "planner", "error", "stream", 1, 700),
        (2, "planner", "error", "429", 1, 0),
        (3, "planner", "ok", None, 1, 1000),
    ]
    linked = [call["first_attempt"] for call in standing(entries) if call["attempt"]]
    assert (len(linked), len(set(linked))) == (3, 1)


def test_what_retries_cost_is_a_question_the_documents_answer(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "sql.md").read_text()
    statement = page.split("What did retries cost?")[1].split("```sql")[1].split("```")[0]
    Ledger.open(tmp_path / "entries").post(conform(entries_of([[body_of(*_SPANS)]])), 1)
    with connect(tmp_path) as connection:
        (row,) = connection.sql(statement).to_arrow_table().to_pylist()
    assert (row["logical_calls"], row["attempts"], row["failed_attempts"]) == (1, 3, 2)
    # 700 fresh tokens of input and 10 of output, at gpt-4o-mini's 0.15 and 0.60 dollars a million.
    assert float(row["wasted_usd"]) == pytest.approx(700 * 0.15e-6 + 10 * 0.6e-6)


@pytest.mark.parametrize(
    ("said", "output", "cut", "estimated", "flags"),
    [
        # Only our own instrumentation estimates; of a foreign stream without counts nothing is made up.
        ({}, None, True, None, ["output_unknown"]),
        ({"error.type": "stream_closed"}, None, True, None, ["output_unknown"]),
        ({"spanledger.stream.cut_short": True, "spanledger.tokens.estimated": True, "gen_ai.usage.output_tokens": 17},
         17, True, True, []),
        ({"gen_ai.usage.output_tokens": 17}, 17, None, None, []),
    ],
)  # fmt: skip
def test_a_stream_that_was_cut_keeps_what_is_known_and_says_what_is_estimated(
    said: dict[str, Any], output: int | None, cut: bool | None, estimated: bool | None, flags: list[str]
) -> None:
    (call,) = standing(entries_of([[body_of(chat(1000, None, attributes={"gen_ai.request.stream": True, **said}))]]))
    assert (call["input_tokens"], call["output_tokens"]) == (1000, output)
    assert (call["cut_short"], call["tokens_estimated"], call["flags"]) == (cut, estimated, flags)
