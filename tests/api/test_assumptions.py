"""What was assumed about an emitter, or is missing, is listed over HTTP; the line that is given settles it in a collector."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from spanledger.collector.config import load
from spanledger.collector.received import Received
from spanledger.collector.service import Collector
from spanledger.ledger.connect import connect
from spanledger.ledger.table import Ledger
from tests.api.running import running
from tests.dialects.spans import Span, body_of
from tests.ledger.made import entries, entry

_CLAUDE = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": "claude-sonnet-4-5",
    "gen_ai.usage.input_tokens": 700,
    "gen_ai.usage.output_tokens": 200,
    "gen_ai.usage.cache_read.input_tokens": 600,
}


def _counted(body: Received, data: Path, config: Path | None = None) -> None:
    """Let a collector with this configuration count a body."""

    async def run() -> None:
        collector = Collector(load(config, {}, data=data, grpc_port=0, http_port=0, api_port=0))
        await collector.start()
        await collector.journal.append(body)
        await collector.stop()

    asyncio.run(asyncio.wait_for(run(), 90))


def test_the_line_that_the_api_gives_for_an_assumption_settles_it_when_it_is_configured(tmp_path: Path) -> None:
    body = body_of(Span(scope="home.made", version="2", attributes=_CLAUDE))
    _counted(body, tmp_path / "first")
    with running(tmp_path / "first") as up:
        (one,) = up.get("/api/assumptions")["assumptions"]
    assert (one["scope"], one["version"], one["provider"], one["calls"]) == ("home.made", "2", "anthropic", 1)
    rows = yaml.safe_load(one["line"].replace("where: inside}  # or outside", "where: outside}"))
    config = tmp_path / "otel-config.yaml"
    config.write_text(yaml.safe_dump({"processors": {"recognise": {"cached_input": rows}}}))
    _counted(body, tmp_path / "second", config)
    with connect(tmp_path / "second") as connection:
        assert connection.execute("select input_tokens, cache_read_tokens, flags from calls").fetchall() == [(1300, 600, [])]


def test_what_an_agent_claims_beyond_its_calls_is_listed_with_a_trace_of_it(tmp_path: Path) -> None:
    now, trace = datetime.now(UTC), "ab" * 16
    claim = {"kind": "duplicate", "rule": "aggregate", "calls": 0, "claimed_input_tokens": 900, "claimed_output_tokens": 90}
    told = {"trace_id": trace, "scope_name": "home.made", "scope_version": "2", "service": "shop", "occurred_at": now,
            "recorded_at": now - timedelta(minutes=9)}  # fmt: skip
    Ledger.open(tmp_path / "entries").post(
        entries(entry("a", **told, input_tokens=500, output_tokens=90), entry("b", **told, **claim)), 1
    )
    with running(tmp_path) as up:
        (one,) = up.get("/api/missing")["missing"]
    assert (one["scope"], one["service"], one["traces"], one["trace"]) == ("home.made", "shop", 1, trace)
    assert (one["input_tokens"], one["output_tokens"], f"inspect {trace}" in one["line"]) == (400, 0, True)


def test_nothing_is_assumed_in_an_empty_ledger(tmp_path: Path) -> None:
    with running(tmp_path) as up:
        assert up.get("/api/assumptions") == {"assumptions": [], "next": None}
        assert up.get("/api/missing") == {"missing": [], "next": None}
