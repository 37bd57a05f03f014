"""Every scope by every path: a limit on a dimension refuses, whichever way the question or the usage comes in."""

import contextlib
from collections.abc import Generator
from datetime import UTC, datetime
from typing import Any

import pytest
from opentelemetry.trace import NonRecordingSpan, SpanContext, use_span

from spanledger.instrumentation import LimitExceeded
from spanledger.instrumentation.answer import Asked, Operation, nothing
from spanledger.instrumentation.guard import Guard
from spanledger.instrumentation.settings import Settings
from spanledger.limits.selector import DIMENSIONS
from tests.api.running import Running, running
from tests.limits.made import Clock, entries, entry

SCOPES = (*DIMENSIONS, "tag.team")
NAMED = {"tenant", "project", "user", "agent", "session", "tag.team"}
COLUMNS = {"model": "requested_model", "trace": "trace_id"}


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Generator[Running]:
    with running(tmp_path_factory.mktemp("data")) as up:
        yield up


def subject(scope: str, value: str) -> dict[str, Any]:
    return {"tags": {scope[4:]: value}} if scope.startswith("tag.") else {scope: value}


@pytest.mark.parametrize("selected", [True, False], ids=["selected", "per"])
@pytest.mark.parametrize("scope", SCOPES)
def test_a_scope_holds_for_checks_lists_dry_runs_leases_and_what_entries_say(
    collector: Running, scope: str, selected: bool
) -> None:
    mine, others = f"{scope}-{selected}".lower(), f"other-{scope}-{selected}".lower()
    covers = {"selectors": {scope: mine}} if selected else {"per": [scope], "selectors": {scope: ["*"]}}
    given = {"name": mine, "measure": "requests", "amount": 2, "window": "lifetime", "thresholds": [], **covers}
    made = collector.client.post("/api/limits", json=given)
    assert made.status_code == 201, made.text

    def ask(value: str, **more: Any) -> int:
        return int(collector.client.post("/api/checks", json={**subject(scope, value), **more}).status_code)

    # What was used without a check counts as much as what is held.
    now = Clock(datetime.now(UTC))
    column = COLUMNS.get(scope, scope)
    row = entry(now, **({"tags": {scope[4:]: mine}} if scope.startswith("tag.") else {column: mine}))
    collector.collector.limits.post(entries(row))
    assert ask(mine, lease_seconds=60) == 200
    assert ask(mine) == 429
    assert ask(mine, dry_run=True) == 429
    many = collector.client.post("/api/checks", json=[subject(scope, mine), subject(scope, others)]).json()
    assert [one["verdict"] for one in many] == ["refuse", "allow"]
    usage = collector.get(f"/api/usage/{scope}={mine}")["limits"]
    assert [(one["used"], one["remaining"]) for one in usage if one["limit"] == mine] == [("1", "0")]
    collector.client.delete(f"/api/limits/{made.json()['id']}")


@pytest.mark.parametrize("ahead", [0, 2], ids=["guard", "lease"])
@pytest.mark.parametrize("scope", SCOPES)
def test_a_scope_holds_for_the_guard_in_an_application_with_and_without_a_lease(
    collector: Running, scope: str, ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, others = (f"{7 + ahead:032x}", f"{99:032x}") if scope == "trace" else (f"{scope}-{ahead}", "other")
    given = {"name": f"guarded {mine}", "measure": "requests", "amount": 3, "window": "lifetime", "selectors": {scope: mine}}
    made = collector.client.post("/api/limits", json={**given, "per": [scope], "thresholds": []})
    assert made.status_code == 201, made.text

    def passed(value: str, calls: int) -> int:
        """How many calls of this value the guard of a fresh application lets through."""
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", f"deployment.environment.name={value if scope == 'environment' else 'e'}")
        service = value if scope == "service" else "s"
        guard = Guard(Settings(api=collector.url, guard_lease=ahead, service=service, guard_timeout_ms=20_000, guard_closed=True))
        says = {"operation": "chat", "provider": "openai", "model": "gpt-4o"} | {scope: value}
        operation = Operation(name=says["operation"], read=nothing)
        asked = Asked(operation=operation, provider=says["provider"], model=says["model"], max_output_tokens=1)
        names = {scope: value} if scope in NAMED else {}
        span = NonRecordingSpan(SpanContext(int(value, 16) if scope == "trace" else 1, 1, is_remote=True))
        count = 0
        with use_span(span):
            for _ in range(calls):
                with contextlib.suppress(LimitExceeded):
                    guard.check(asked, names)
                    count += 1
        guard.close(20)
        return count

    assert passed(mine, 6) == 3
    assert passed(others, 4) == 4
    collector.client.delete(made.headers["location"])
