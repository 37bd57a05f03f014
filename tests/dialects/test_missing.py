"""Sums of agents that claim more than was counted below them say that telemetry of calls is missing, until it comes."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from spanledger.collector.count.missing import Missing, missing
from spanledger.collector.received import Received
from spanledger.ledger.connect import connect
from spanledger.ledger.frame import conform
from spanledger.ledger.table import Ledger
from tests.dialects.bodies import INDEX, NOW, body, numbered
from tests.dialects.counting import entries_of
from tests.dialects.spans import Span, body_of, chat


def _missing(folder: Path, batches: Sequence[Sequence[Received]], later: timedelta = timedelta(hours=1)) -> list[Missing]:
    entries = entries_of(batches)
    recorded = pl.lit(NOW).cast(entries.schema["recorded_at"]).alias("recorded_at")
    Ledger.open(folder / "entries").post(conform(entries.with_columns(recorded)), 1)
    with connect(folder) as connection:
        return missing(connection, now=NOW + later)


def _agent(scope: str, tokens: int, trace: str = "trace") -> Span:
    claim = {"gen_ai.usage.input_tokens": tokens, "gen_ai.usage.output_tokens": 400}
    attributes = {"gen_ai.operation.name": "invoke_agent", **claim}
    return Span(id="a", trace=trace, end=900, scope=scope, version="2", name="invoke_agent", attributes=attributes)


def test_no_sample_in_which_all_calls_were_told_of_misses_any(tmp_path: Path) -> None:
    assert _missing(tmp_path, [numbered([body(sample["file"]) for sample in INDEX])], timedelta(days=1)) == []


def test_what_an_agent_claims_beyond_its_calls_is_told_until_they_come(tmp_path: Path) -> None:
    first, second = (chat(1000, 200, id=each, parent="a", start=at) for each, at in (("one", 1), ("two", 500)))
    agents = [_agent("home.made", 2000), _agent("home.made", 2000, "another")]
    (found,) = _missing(tmp_path / "some", [[body_of(first, *agents, chat(1000, 200, id="x", parent="a", trace="another"))]])
    assert (found.scope, found.version, found.service, found.traces) == ("home.made", "2", "app", 2)
    assert (found.input_tokens, found.output_tokens, found.trace in found.line) == (2000, 400, True)
    assert _missing(tmp_path / "late", [[body_of(first, agents[0])], [body_of(second)]]) == []
    # What has just come may still be followed by its calls.
    assert _missing(tmp_path / "young", [[body_of(first, agents[0])]], timedelta(minutes=1)) == []


@pytest.mark.parametrize("scope", ["strands.telemetry.tracer"])
def test_a_sum_that_goes_on_over_many_runs_proves_nothing(scope: str, tmp_path: Path) -> None:
    call = chat(1000, 200, id="c", parent="a", start=1, scope=scope)
    assert _missing(tmp_path, [[body_of(call, _agent(scope, 9000))]]) == []


def test_a_call_that_is_told_of_in_another_trace_is_not_missing(tmp_path: Path) -> None:
    wrapper = chat(2000, 400, id="w", parent="a", start=1, end=300, scope="framework")
    inner = chat(2000, 400, id="i", trace="its own", start=10, end=290, scope="client")
    assert _missing(tmp_path, [[body_of(inner, wrapper, _agent("framework", 2000))]]) == []
