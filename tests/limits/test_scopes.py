"""Every scope by every path: a limit on a dimension refuses, whichever way the question or the usage comes in."""

from collections.abc import Generator
from datetime import UTC, datetime
from typing import Any

import pytest

from spanledger.limits.selector import DIMENSIONS
from tests.api.running import Running, running
from tests.limits.made import Clock, entries, entry

SCOPES = (*DIMENSIONS, "tag.team")
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
    mine, others = f"{scope}-{selected}", f"other-{scope}-{selected}"
    covers = {"selectors": {scope: mine}} if selected else {"per": [scope], "selectors": {scope: ["*"]}}
    given = {"name": mine, "measure": "requests", "amount": 2, "window": "day", "thresholds": [], **covers}
    made = collector.client.post("/api/limits", json=given)
    assert made.status_code == 201, made.text

    def ask(value: str, **more: Any) -> int:
        return int(collector.client.post("/api/checks", json={**subject(scope, value), **more}).status_code)

    # What was used without a check counts as much as what is held.
    now = Clock(datetime.now(UTC))
    column = COLUMNS.get(scope, scope)
    row = entry(now, **({"tags": {scope[4:]: mine}} if scope.startswith("tag.") else {column: mine}))
    collector.collector.limits.post(entries(row))
    assert ask(mine, lease_seconds=1) == 200
    assert ask(mine) == 429
    assert ask(mine, dry_run=True) == 429
    many = collector.client.post("/api/checks", json=[subject(scope, mine), subject(scope, others)]).json()
    assert [one["verdict"] for one in many] == ["refuse", "allow"]
    usage = collector.get(f"/api/usage/{scope}={mine}")["limits"]
    assert [(one["used"], one["remaining"]) for one in usage if one["limit"] == mine] == [("1", "0")]
    collector.client.delete(f"/api/limits/{made.json()['id']}")
