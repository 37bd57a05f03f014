"""What waits two minutes for calls below it, or is measured from what came before, is counted however busy the collector is."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from spanledger.collector.count import evidence_files
from spanledger.collector.count.count_once import Counting, CountOnce
from spanledger.collector.decode.decode import decode
from spanledger.collector.received import Received
from spanledger.collector.recognise.recognise import recognise
from spanledger.ledger.frame import COLUMNS
from tests.dialects.bodies import NOW, received
from tests.dialects.counting import Posted
from tests.dialects.spans import Span, attributes, body_of, chat

_CUMULATIVE, _DELTA = 2, 1
_HOUR = 3_600_000
#: Seconds between batches.
_STEP = 15


def _point(step: int, calls: int, temporality: int) -> Received:
    told = {"gen_ai.operation.name": "chat", "gen_ai.system": "openai", "gen_ai.request.model": "gpt-4o"}

    def metric(name: str, total: int, more: dict[str, str]) -> dict[str, Any]:
        at = int(NOW.timestamp()) + step * _STEP
        point = {"startTimeUnixNano": str(10**18), "timeUnixNano": str(at * 10**9), "count": str(calls), "sum": total,
                 "attributes": attributes({**told, **more})}  # fmt: skip
        return {"name": name, "histogram": {"aggregationTemporality": temporality, "dataPoints": [point]}}

    read = metric("gen_ai.client.token.usage", 100 * calls, {"gen_ai.token.type": "input"})
    metrics = [read, metric("gen_ai.client.operation.duration", calls, {})]
    resource = {"attributes": attributes({"service.name": "metered"})}
    return received({"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"scope": {}, "metrics": metrics}]}]}, "metrics")


def _agent(step: int) -> Received:
    """A sum of which no call below it is ever told."""
    claims = {"gen_ai.usage.input_tokens": 50, "gen_ai.usage.output_tokens": 5, "gen_ai.system": "openai"}
    end = _HOUR + step * _STEP * 1000
    return body_of(Span(service="agents", trace=f"agent {step}", attributes=claims, start=end - 100, end=end))


@pytest.mark.parametrize(
    ("others", "restarts", "temporality"), [(8, False, _CUMULATIVE), (30, True, _CUMULATIVE), (30, False, _DELTA)]
)
def test_sums_and_metrics_are_counted_once_each_though_memory_holds_less_than_they_wait(
    others: int, restarts: bool, temporality: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory of 120 records holds 225 or 60 seconds of so many others a batch; a series speaks once a minute."""
    monkeypatch.setattr(evidence_files, "MOST_FILES", 8)
    counting, ledger, sent = Counting(rows=120), Posted([pl.DataFrame(schema=COLUMNS)]), 0
    counter = CountOnce(counting, folder=tmp_path, older=ledger)
    for step in range(40):
        end = _HOUR + step * _STEP * 1000
        noise = (chat(n + 1, 7, trace=f"{step} {n}", service="others", start=end - 9, end=end) for n in range(others))
        batch = [body_of(*noise)]
        if step % 4 == 0 and step < 28:
            sent += 1
            batch += [_agent(step), _point(step, sent if temporality == _CUMULATIVE else 1, temporality)]
        if restarts and step % 7 == 6:
            counter = CountOnce(counting, folder=tmp_path, mark=step, older=ledger)
        now = NOW + timedelta(seconds=step * _STEP)
        for entries in (counter.count(recognise(decode(batch)), now=now, mark=step + 1), counter.due(now=now)):
            ledger.frames.append(entries)
            counter.posted(step + 1, entries)
        assert counter.memory.evidence.height < 120 * 1.2 + others
    entries = pl.concat(ledger.frames)
    counted = {service: entries.filter(pl.col("service") == service)["calls", "input_tokens"].sum().row(0)
               for service in ("agents", "metered")}  # fmt: skip
    assert counted == {"agents": (sent, 50 * sent), "metered": (sent, 100 * sent)}
    # Nothing was counted that had to be taken back.
    assert "reversal" not in entries["kind"]
