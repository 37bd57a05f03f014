"""The main job, nothing faked but the provider: an import line, a priced ledger, a refused call, a page that shows it."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from spanledger.analytics.connect import connect
from spanledger.cli import provider_stand_in
from tests.cli.command import environment, in_a_process
from tests.cli.running import Running, collector, eventually, get, running
from tests.repository.skeleton import ROOT

#: Dollars a million tokens, from the providers' price lists: fresh input, cache read, 5-minute write, 1-hour write, output.
GPT_4O = (Decimal("2.50"), Decimal("1.25"), Decimal(0), Decimal(0), Decimal(10))
HAIKU_45 = (Decimal(1), Decimal("0.10"), Decimal("1.25"), Decimal(2), Decimal(5))


def cost(rates: tuple[Decimal, ...], fresh: int, read: int, write_5m: int, write_1h: int, output: int) -> Decimal:
    amounts = (fresh, read, write_5m, write_1h, output)
    return sum((rate * tokens for rate, tokens in zip(rates, amounts, strict=True)), Decimal(0)) / 1_000_000


PLAIN = cost(GPT_4O, 400, 600, 0, 0, 50)
CACHED = cost(HAIKU_45, 1_000, 3_000, 600, 400, 200)

#: user → what their calls must have come to: model, calls, input, cache read, cache write, output, reasoning, dollars, state.
WANTED: dict[str, tuple[Any, ...]] = {
    "plain": ("gpt-4o-2024-08-06", 1, 1_000, 600, None, 50, 20, PLAIN, "priced"),
    "streamed": ("gpt-4o-2024-08-06", 1, 2_000, None, None, 100, None, cost(GPT_4O, 2_000, 0, 0, 0, 100), "priced"),
    "cached": ("claude-haiku-4-5", 1, 5_000, 3_000, 1_000, 200, None, CACHED, "priced"),
    "helper": ("claude-haiku-4-5", 1, 2_000, None, None, 100, None, cost(HAIKU_45, 2_000, 0, 0, 0, 100), "priced"),
    "nameless": ("a-model-nobody-knows", 1, 1_000, 600, None, 50, 20, None, "unpriced"),
    "async-0": ("gpt-4o-2024-08-06", 5, 5_000, 3_000, None, 250, 100, 5 * PLAIN, "priced"),
    "async-1": ("claude-haiku-4-5", 5, 25_000, 15_000, 5_000, 1_000, None, 5 * CACHED, "priced"),
}
CALLS = 16
TOTAL = sum((row[7] for row in WANTED.values() if row[7] is not None), Decimal(0))


@dataclass(frozen=True, slots=True)
class Way:
    """A running collector, and what is needed to send to it and to ask it."""

    serve: Running
    addresses: dict[str, str]
    data: Path
    provider: provider_stand_in.StandIn

    def application(self, scene: str, **variables: str) -> dict[str, Any]:
        """Run the application to its end; gives what it saw."""
        ended = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("application.py")), scene, self.provider.url],
            env={**environment(), "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{self.addresses['http']}", **variables},
            capture_output=True, text=True, timeout=250,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        seen: dict[str, Any] = json.loads(ended.stdout)
        return seen

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What SQL over the ledger's newest snapshot gives."""
        return connect(self.data).execute(statement).fetchall()


@pytest.fixture(scope="module")
def way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    folder = tmp_path_factory.mktemp("way")
    with (
        collector(folder / "serve", folder / "data") as (serve, addresses),
        provider_stand_in.start() as provider,
    ):
        yield Way(serve, addresses, folder / "data", provider)
        assert serve.process.poll() is None, serve.err


@pytest.fixture(scope="module")
def told(way: Way) -> dict[str, Any]:
    """The application has run, and its calls are in the ledger."""
    seen = way.application("every kind")
    statement = "select coalesce(sum(calls), 0) from entries where tenant in ('acme', 'globex')"
    eventually(lambda: way.rows(statement)[0][0] >= CALLS, f"{CALLS} calls in the ledger")
    return seen


def test_the_application_gets_what_it_would_get_without_us(told: dict[str, Any]) -> None:
    assert told["plain"].startswith("openai.types")
    assert told["streamed"] > 2
    assert (told["cached"], told["helper"], told["refused"], told["at once"]) == (3_000, 100, 429, 10)


@pytest.mark.parametrize("user", WANTED)
def test_every_call_is_in_the_ledger_with_its_exact_tokens_and_cost(way: Way, told: dict[str, Any], user: str) -> None:
    found = way.rows(
        "select any_value(model), sum(calls), sum(input_tokens), sum(cache_read_tokens), sum(cache_write_tokens),"
        " sum(output_tokens), sum(reasoning_tokens), sum(cost_usd), any_value(cost_state)"
        f" from entries where \"user\" = '{user}' and project is not distinct from"
        f" {'null' if user.startswith('async') else chr(39) + 'end-to-end' + chr(39)}"
    )
    model, calls, tokens_in, read, written, tokens_out, reasoning, dollars, state = WANTED[user]
    [(*counted, found_state)] = found
    # A detail that no provider reported may be null or zero: neither changes a sum.
    assert [value or 0 for value in counted[1:7]] == [
        value or 0 for value in (calls, tokens_in, read, written, tokens_out, reasoning)
    ]
    assert (counted[0], counted[7], found_state) == (model, dollars, state)


def test_cache_writes_are_kept_apart_by_how_long_they_last(way: Way, told: dict[str, Any]) -> None:
    found = way.rows("select cache_write_5m_tokens, cache_write_1h_tokens from entries where \"user\" = 'cached'")
    assert found == [(600, 400)]


def test_a_call_that_was_refused_by_the_provider_is_a_failed_call_that_cost_nothing(way: Way, told: dict[str, Any]) -> None:
    [(outcome, error_type, dollars)] = way.rows("select outcome, error_type, cost_usd from entries where \"user\" = 'refused'")
    assert (outcome, error_type, dollars or 0) == ("error", "rate_limit_exceeded", 0)


def test_attribution_reaches_the_ledger(way: Way, told: dict[str, Any]) -> None:
    found = way.rows(
        "select distinct tenant, agent, project, tags['ticket'] from entries where tenant in ('acme', 'globex') order by 1"
    )
    assert found == [("acme", "bot", "end-to-end", "T-1"), ("globex", None, None, None)]


def test_no_prompt_and_no_secret_is_kept_anywhere(way: Way, told: dict[str, Any]) -> None:
    for path in (path for path in way.data.rglob("*") if path.is_file()):
        kept = path.read_bytes()
        assert b"sk-secret" not in kept, path
        assert b"[[input" not in kept, path


def test_the_api_tells_the_same_sums(way: Way, told: dict[str, Any]) -> None:
    summary = get(f"{way.addresses['api']}/api/summary?group_by=tenant")
    groups = {group["key"]: group for group in summary["groups"]}
    assert {name: groups[name]["calls"] for name in ("acme", "globex")} == {"acme": 6, "globex": 10}
    assert sum(Decimal(groups[name]["cost_usd"]) for name in ("acme", "globex")) == TOTAL


def test_the_command_line_tells_the_same_sums_while_the_collector_runs(way: Way, told: dict[str, Any]) -> None:
    statement = "select sum(calls)::bigint as calls, sum(cost_usd) as usd from entries where tenant in ('acme', 'globex')"
    outcome = in_a_process("sql", statement, "--json", "--data", str(way.data))
    assert json.loads(outcome.out) == [{"calls": CALLS, "usd": f"{TOTAL.normalize():f}"}], outcome.err


def script(data: str, api: str) -> None:
    """What AppTest runs: the first page in the frame of every page."""
    from pathlib import Path

    from spanledger.dashboard.pages import PAGES
    from spanledger.dashboard.show import frame

    frame(PAGES[0], Path(data), api, None)


def test_the_dashboard_shows_them(way: Way, told: dict[str, Any]) -> None:
    from streamlit.testing.v1 import AppTest

    test = AppTest.from_function(script, default_timeout=90, kwargs={"data": str(way.data), "api": way.addresses["api"]}).run()
    assert not test.exception, test.exception
    page = " ".join(element.proto.body for element in test.get("html"))
    for name in ("acme", "globex", "bot", "claude-haiku-4-5", "gpt-4o-2024-08-06", "a-model-nobody-knows"):
        assert name in page
    assert "unpriced" in page


def post(url: str, body: dict[str, Any]) -> tuple[int, dict[str, str], dict[str, Any]]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, dict(answer.headers), json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), json.loads(error.read())


def test_calls_that_fail_count_against_a_limit_on_requests_before_their_spans_arrive(way: Way) -> None:
    limit = {
        "name": "three requests a year", "measure": "requests", "amount": "3", "hard": True,
        "window": {"kind": "calendar", "unit": "year", "zone": "UTC"}, "selectors": {"tenant": ["failer"]},
    }  # fmt: skip
    status, _, made = post(f"{way.addresses['api']}/api/limits", limit)
    assert status == 201, made
    seen = way.application(
        "failing until refused", SPANLEDGER_GUARD="1", SPANLEDGER_API=way.addresses["api"], SPANLEDGER_GUARD_TIMEOUT_MS="20000"
    )
    assert seen["failed"] == 3
    assert seen["explanation"]["limit"] == limit["name"]


def test_a_call_is_refused_when_its_limit_is_reached(way: Way) -> None:
    limit = {
        "name": "a cent a year for each tenant", "per": ["tenant"], "measure": "cost_usd", "amount": "0.01",
        "window": {"kind": "calendar", "unit": "year"}, "hard": True, "selectors": {"tenant": ["spender", "saver"]},
    }  # fmt: skip
    status, _, made = post(f"{way.addresses['api']}/api/limits", limit)
    assert status == 201, made

    before = len(way.provider.seen)
    seen = way.application(
        "until refused", SPANLEDGER_GUARD="1", SPANLEDGER_API=way.addresses["api"], SPANLEDGER_GUARD_TIMEOUT_MS="20000"
    )
    explanation = seen["explanation"]
    # A call costs 0.00225: four fit into a cent, and none was sent that a check had refused.
    assert 1 <= seen["made"] <= 4
    assert len(way.provider.seen) - before == seen["made"] + 1
    assert explanation["limit"] == limit["name"]
    assert explanation["measure"] == "cost_usd"
    assert Decimal(explanation["amount"]) == Decimal("0.01")
    assert Decimal(explanation["used"]) + Decimal(explanation["held"]) + Decimal(explanation["requested"]) > Decimal("0.01")

    spent = "select sum(calls), sum(cost_usd) from entries where tenant = 'spender'"
    eventually(lambda: (way.rows(spent)[0][0] or 0) >= seen["made"], "the spender's calls in the ledger")
    assert way.rows(spent) == [(seen["made"], seen["made"] * PLAIN)]
    assert seen["made"] * PLAIN <= Decimal("0.01")

    status, headers, refusal = post(
        f"{way.addresses['api']}/api/checks",
        {"tenant": "spender", "provider": "openai", "model": "gpt-4o", "input_tokens": 2_000, "max_output_tokens": 500},
    )
    assert status == 429
    assert int(headers["Retry-After"] if "Retry-After" in headers else headers["retry-after"]) > 0
    assert refusal["limit"] == limit["name"]


def test_the_demo_agrees_with_the_ledger_each_time(tmp_path: Path) -> None:
    with collector(tmp_path / "serve", tmp_path / "data"):
        for _ in range(2):
            outcome = in_a_process("demo", "--data", str(tmp_path / "data"), "--days", "3", "--calls", "1200")
            assert outcome.code == 0, outcome.out + outcome.err
            assert "The ledger agrees with what was sent" in outcome.out


def test_a_collector_laid_out_by_the_file_in_the_repository_takes_the_same_telemetry(way: Way, tmp_path: Path) -> None:
    options = ("--config", str(ROOT / "otel-config.yaml"), "--data", str(tmp_path / "data"))
    with running(tmp_path, "serve", *options, "--grpc-port", "0", "--http-port", "0", "--api-port", "0") as serve:
        eventually(lambda: "API" in serve.out or serve.process.poll() is not None, "the start")
        assert serve.process.poll() is None, serve.err
        addresses = json.loads((tmp_path / "data" / "addresses.json").read_text())
        Way(serve, addresses, tmp_path / "data", way.provider).application("every kind")
        eventually(
            lambda: connect(tmp_path / "data").execute("select sum(calls) from entries").fetchone() == (CALLS,), "the calls"
        )
