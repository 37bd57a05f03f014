"""Two whole collectors and one Redis in the small: what `test_campaign.py` shows at length with processes that are killed."""

import asyncio
from collections.abc import Generator
from decimal import Decimal
from typing import Any

import pytest
import yaml

from tests.api.running import Running, running
from tests.limits.campaign import LIMIT, clients
from tests.limits.made import until
from tests.limits.redis_server import RedisServer


class Pair:
    def __init__(self, redis: RedisServer, collectors: list[Running]) -> None:
        self.redis, self.collectors = redis, collectors

    def limit(self, **fields: Any) -> str:
        """The id of a limit that both collectors know."""
        made = self.collectors[0].client.post("/api/limits", json={**LIMIT, **fields})
        assert made.status_code == 201, made.text
        limit_id = str(made.json()["id"])
        until(lambda: self.collectors[1].client.get(f"/api/limits/{limit_id}").status_code == 200)
        return limit_id

    def stands(self, limit_id: str) -> list[tuple[str, str]]:
        """(used, held) as each collector says."""
        shown = [collector.get(f"/api/limits/{limit_id}") for collector in self.collectors]
        return [(one["used"], one["held"]) for one in shown]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Generator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    (folder / "redis").mkdir()
    redis = RedisServer(folder / "redis")
    shared = {"control": {"url": f"sqlite:///{folder / 'control.sqlite'}"}, "counters": {"url": redis.url}}
    file = folder / "config.yaml"
    # One ledger, as docs/limits.md wants it: when Redis comes back each counts anew what the ledger has.
    exporters = {"ledger": {"url": str(folder / "entries")}}
    file.write_text(yaml.safe_dump({"extensions": shared, "exporters": exporters}))
    try:
        with running(folder / "one", file=file) as one, running(folder / "two", file=file) as two:
            yield Pair(redis, [one, two])
    finally:
        redis.kill()


def test_clients_of_two_collectors_pass_exactly_the_calls_that_a_limit_affords(pair: Pair) -> None:
    limit_id = pair.limit(name="half a dollar", amount="0.50", selectors={"tenant": "acme"})
    addresses = [(one.url, one.collector.addresses["http"]) for one in pair.collectors]
    asks = {"max_output_tokens": 1000, "wait_ms": 2000, "lease_seconds": 60}
    tally = asyncio.run(clients(addresses, 30, seconds=60, asks=asks, settles=False))
    assert (tally.passed, tally.refused_while_free, tally.held_by_nobody) == (50, 0, 0)
    until(lambda: pair.stands(limit_id) == [("0.5", "0")] * 2)
    for one in pair.collectors:
        assert Decimal(one.get("/api/summary", since="2020-01-01T00:00:00Z")["totals"]["cost_usd"]) == Decimal("0.5")
    pair.collectors[0].client.delete(f"/api/limits/{limit_id}")


def test_while_redis_is_away_answers_say_so_and_each_limit_fails_as_it_says(pair: Pair) -> None:
    closed = pair.limit(name="closed", measure="requests", amount="5", on_failure="closed", selectors={"tenant": "careful"})
    opened = pair.limit(name="open", measure="requests", amount="5", on_failure="open", selectors={"tenant": "easy"})
    asked = [(one, tenant) for one in pair.collectors for tenant in ("careful", "easy")]
    assert [one.client.post("/api/checks", json={"tenant": tenant}).status_code for one, tenant in asked] == [200] * 4
    pair.redis.kill()
    for one, tenant in asked:
        answer = one.client.post("/api/checks", json={"tenant": tenant})
        said = answer.json()
        assert said["counters_away"] is True
        assert (answer.status_code, said["verdict"]) == ((429, "refuse") if tenant == "careful" else (200, "warn"))
        assert f"fails {'closed' if tenant == 'careful' else 'open'}" in str(said)
    for one in pair.collectors:
        shown = one.get(f"/api/limits/{closed}")
        assert (shown["used"], shown["buckets"], shown["counters_away"]) == (None, [], True)
        assert "more than a second ago" in str(shown["overshoot_bound"]["rests_on"])
        assert {limit["name"] for limit in one.get("/api/limits")["limits"]} == {"closed", "open"}
        [usage] = one.get("/api/usage/tenant=careful")["limits"]
        assert (usage["amount"], usage["held"]) == ("5", None)
    made = pair.collectors[0].client.post("/api/limits", json={**LIMIT, "name": "made while away"})
    assert (made.status_code, made.json()["used"]) == (201, None)
    assert pair.collectors[0].client.delete(made.headers["location"]).status_code == 204
    pair.redis.start()
    for one, tenant in asked:
        told = {"tenant": tenant, "dry_run": True}
        until(lambda one=one, told=told: not one.client.post("/api/checks", json=told).json().get("counters_away"))  # type: ignore[misc]
    assert [pair.stands(limit_id) for limit_id in (closed, opened)] == [[("0", "2")] * 2] * 2
