"""The guard asks before a call, and a refusal is raised before anything is sent to the provider."""

import asyncio
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import openai
import pytest
from opentelemetry.baggage import set_baggage
from opentelemetry.context import attach, detach, get_current

from spanledger.cli.provider_stand_in import StandIn
from spanledger.instrumentation import LimitExceeded, attribute, instrument, uninstrument
from tests.instrumentation.asking import MESSAGES, said
from tests.instrumentation.check_api import REFUSAL, CheckApi
from tests.instrumentation.conftest import Spans
from tests.ports import nobody_listens

ASK: dict[str, Any] = {"model": "gpt-4o", "messages": MESSAGES}


@pytest.fixture
def client(provider: StandIn) -> Iterator[Any]:
    with openai.OpenAI(base_url=provider.url + "/v1", api_key="any", max_retries=0) as client:
        yield client


def _guard(environ: pytest.MonkeyPatch, url: str, **settings: str) -> None:
    """On, with a time-out that a slow machine keeps."""
    environ.setenv("SPANLEDGER_GUARD", "1")
    environ.setenv("SPANLEDGER_API", url)
    environ.setenv("SPANLEDGER_GUARD_TIMEOUT_MS", "30000")
    for name, value in settings.items():
        environ.setenv(name, value)
    instrument()


def test_a_check_says_who_asks_for_what(client: Any, spans: Spans, clean_environ: pytest.MonkeyPatch) -> None:
    with CheckApi() as api:
        clean_environ.setenv("OTEL_SERVICE_NAME", "shop")
        clean_environ.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=staging")
        _guard(clean_environ, api.url, SPANLEDGER_API_KEY="secret")
        with attribute(tenant="acme", project="p", user="u", agent="a", session="s", feature="search"):
            client.chat.completions.create(**ASK, max_completion_tokens=50)
        question = api.asked[0]
        assert question.pop("input_tokens") >= 25
        assert len(question.pop("trace")) == 32
        assert question == {
            "tenant": "acme",
            "project": "p",
            "user": "u",
            "agent": "a",
            "session": "s",
            "tags": {"feature": "search"},
            "service": "shop",
            "environment": "staging",
            "operation": "chat",
            "provider": "openai",
            "model": "gpt-4o",
            "max_output_tokens": 50,
        }
        assert api.authorization == ["Bearer secret"]
        assert said(spans.one())["spanledger.hold.id"] == "hold-1"


@pytest.mark.parametrize(("tier", "asked"), [("priority", "priority"), ("flex", None), ("auto", None), (["priority"], None)])
def test_a_check_names_the_tier_that_a_call_asks_for_where_it_is_a_dear_one(
    client: Any, spans: Spans, clean_environ: pytest.MonkeyPatch, tier: Any, asked: str | None
) -> None:
    with CheckApi() as api:
        _guard(clean_environ, api.url)
        client.chat.completions.create(**ASK, extra_body={"service_tier": tier})
        assert api.asked[0].get("service_tier") == asked


def test_a_refused_call_is_never_sent_and_explains_itself(
    client: Any, spans: Spans, provider: StandIn, clean_environ: pytest.MonkeyPatch
) -> None:
    with CheckApi(allowed=0) as api:
        _guard(clean_environ, api.url)
        before = provider.seen[-1] if provider.seen else None
        with pytest.raises(LimitExceeded, match=r"tenant acme has used 9\.99 of 10\.00 USD") as caught:
            client.chat.completions.create(**ASK)
        assert caught.value.explanation == REFUSAL
        assert (caught.value.limit, caught.value.retry_after_seconds) == ("acme a day", 3600.0)
        assert pickle.loads(pickle.dumps(caught.value)).explanation == REFUSAL
        assert (provider.seen[-1] if provider.seen else None) is before
        assert spans.calls() == []


def test_an_asynchronous_call_is_refused_as_well(provider: StandIn, spans: Spans, clean_environ: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with anthropic.AsyncAnthropic(base_url=provider.url, api_key="any") as client:
            await client.messages.create(model="claude-opus-4-6", max_tokens=100, messages=MESSAGES)
            with pytest.raises(LimitExceeded):
                await client.messages.create(model="claude-opus-4-6", max_tokens=100, messages=MESSAGES)

    with CheckApi(allowed=1) as api:
        _guard(clean_environ, api.url)
        asyncio.run(run())
    assert len(spans.calls()) == 1


def test_an_asynchronous_check_leaves_the_loop_free(provider: StandIn, spans: Spans, clean_environ: pytest.MonkeyPatch) -> None:
    may_answer = threading.Event()

    async def run() -> None:
        async with openai.AsyncOpenAI(base_url=provider.url + "/v1", api_key="any") as client:
            call = asyncio.create_task(client.chat.completions.create(**ASK))
            while not api.asked:
                await asyncio.sleep(0.01)
            assert not call.done()
            may_answer.set()
            await call

    with CheckApi(until=may_answer) as api:
        _guard(clean_environ, api.url)
        asyncio.run(run())
    assert said(spans.one())["spanledger.hold.id"] == "hold-1"


def test_a_failed_call_holds_nothing_but_its_request(client: Any, spans: Spans, clean_environ: pytest.MonkeyPatch) -> None:
    with CheckApi() as api:
        _guard(clean_environ, api.url)
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(model="fail-429", messages=MESSAGES)
        api.wait_for(("POST", "/api/holds/hold-1/settle", {"input_tokens": 0, "output_tokens": 0, "cost_usd": "0"}))


def test_a_call_that_ends_shrinks_its_hold_to_what_was_used(client: Any, spans: Spans, clean_environ: pytest.MonkeyPatch) -> None:
    with CheckApi() as api:
        _guard(clean_environ, api.url)
        client.chat.completions.create(**ASK)
        api.wait_for(("POST", "/api/holds/hold-1/settle", {"input_tokens": 100, "output_tokens": 40}))


def test_the_connection_to_the_check_api_is_kept(client: Any, spans: Spans, clean_environ: pytest.MonkeyPatch) -> None:
    with CheckApi() as api:
        _guard(clean_environ, api.url)
        for _ in range(8):
            client.chat.completions.create(**ASK)
        assert len(api.asked) == 8
        # One for the checks, and one that tells of holds at the same time.
        assert len(api.connections) <= 2


def test_calls_go_on_while_the_check_api_is_away(client: Any, spans: Spans, clean_environ: pytest.MonkeyPatch) -> None:
    with nobody_listens() as api:
        _guard(clean_environ, api)
        for _ in range(5):
            client.chat.completions.create(**ASK)
    assert len(spans.calls()) == 5
    assert "spanledger.hold.id" not in said(spans.calls()[0])


def test_a_closed_guard_refuses_while_the_check_api_is_away(
    client: Any, spans: Spans, provider: StandIn, clean_environ: pytest.MonkeyPatch
) -> None:
    with nobody_listens() as api:
        _guard(clean_environ, api, SPANLEDGER_GUARD_FAIL="closed")
        for _ in range(5):
            with pytest.raises(LimitExceeded, match="SPANLEDGER_GUARD_FAIL=closed") as caught:
                client.chat.completions.create(**ASK)
            assert caught.value.limit is None
    assert spans.calls() == []


def test_an_api_that_answers_nonsense_counts_as_away(client: Any, spans: Spans, clean_environ: pytest.MonkeyPatch) -> None:
    with CheckApi(status=500) as api:
        _guard(clean_environ, api.url)
        client.chat.completions.create(**ASK)
        assert len(api.asked) == 1
    spans.one()


def test_an_api_that_is_asked_too_often_is_asked_again(client: Any, spans: Spans, clean_environ: pytest.MonkeyPatch) -> None:
    with CheckApi(paced=5) as api:
        _guard(clean_environ, api.url)
        client.chat.completions.create(**ASK)
        assert len(api.asked) == 6
    assert said(spans.one())["spanledger.hold.id"] == "hold-6"


@pytest.mark.parametrize("closed", [False, True])
def test_no_pace_of_the_api_is_taken_for_a_limit(
    closed: bool, client: Any, spans: Spans, clean_environ: pytest.MonkeyPatch
) -> None:
    with CheckApi(status=429) as api:
        _guard(clean_environ, api.url, SPANLEDGER_GUARD_TIMEOUT_MS="30", SPANLEDGER_GUARD_FAIL="closed" if closed else "open")
        if closed:
            with pytest.raises(LimitExceeded, match="SPANLEDGER_GUARD_FAIL=closed"):
                client.chat.completions.create(**ASK)
        else:
            client.chat.completions.create(**ASK)
    assert len(spans.calls()) == (not closed)


@pytest.mark.parametrize("status", [400, 403, 413, 422])
def test_what_the_api_says_of_one_question_does_not_stop_the_next(
    status: int, client: Any, spans: Spans, clean_environ: pytest.MonkeyPatch
) -> None:
    with CheckApi(status=status) as api:
        _guard(clean_environ, api.url)
        for _ in range(5):
            client.chat.completions.create(**ASK)
        assert len(api.asked) == 5


def test_any_name_is_asked_for_as_the_ledger_will_have_it(client: Any, spans: Spans, clean_environ: pytest.MonkeyPatch) -> None:
    baggage = {"spanledger.dry_run": "true", "spanledger.nonsense": "x", "spanledger.project": "p\ud800"}
    context = get_current()
    for name, value in baggage.items():
        context = set_baggage(name, value, context)
    with CheckApi() as api:
        _guard(clean_environ, api.url)
        token = attach(context)
        try:
            with attribute(tenant="x" * 1001, user="\ud800u", feature="y" * 5000, **{"t\udc00": "z"}):
                client.chat.completions.create(**ASK)
        finally:
            detach(token)
        [question] = api.asked
    assert question["tags"] == {"feature": "y" * 512, "t\ufffd": "z"}
    assert [question[name] for name in ("tenant", "user", "project")] == ["x" * 512, "\ufffdu", "p\ufffd"]
    assert not {"dry_run", "nonsense"} & set(question)
    told = said(spans.one())
    assert (told["spanledger.tenant"], told["user.id"], told["spanledger.tag.t\ufffd"]) == ("x" * 1001, "\ufffdu", "z")


def test_after_three_failures_calls_no_longer_wait_for_the_api(
    client: Any, spans: Spans, clean_environ: pytest.MonkeyPatch
) -> None:
    with CheckApi(wait_seconds=0.5) as api:
        _guard(clean_environ, api.url, SPANLEDGER_GUARD_TIMEOUT_MS="20")
        for _ in range(12):
            client.chat.completions.create(**ASK)
        _until(lambda: len(api.asked) >= 3)
        # Three that failed, and at most one more for each second that has passed since.
        assert len(api.asked) < 12
    assert len(spans.calls()) == 12


def test_the_breaker_lets_one_through_after_each_pause_and_closes_again() -> None:
    from spanledger.instrumentation.breaker import Breaker

    now = [0.0]
    breaker = Breaker(clock=lambda: now[0])
    for _ in range(3):
        assert breaker.allows()
        breaker.failed()
    assert not breaker.allows()
    now[0] = 1.1
    assert [breaker.allows(), breaker.allows()] == [True, False]
    breaker.failed()
    now[0] = 2.5
    assert not breaker.allows()
    now[0] = 3.2
    assert breaker.allows()
    breaker.succeeded()
    assert all(breaker.allows() for _ in range(10))


def test_another_model_may_be_named_for_a_refused_call(
    client: Any, spans: Spans, provider: StandIn, clean_environ: pytest.MonkeyPatch
) -> None:
    heard: list[Any] = []

    def cheaper(refusal: LimitExceeded, model: str | None) -> str | None:
        heard.append((refusal.limit, model))
        return "gpt-4o-mini"

    with CheckApi(refused=("gpt-4o",)) as api:
        _guard(clean_environ, api.url)
        instrument(on_limit=cheaper)
        asked = {**ASK}
        assert client.chat.completions.create(**asked).model == "gpt-4o-mini-2024-07-18"
        assert asked["model"] == "gpt-4o"
        assert heard == [("acme a day", "gpt-4o")]
        assert [question["model"] for question in api.asked] == ["gpt-4o", "gpt-4o-mini"]
        attributes = said(spans.one())
        assert attributes["gen_ai.request.model"] == "gpt-4o-mini"
        assert attributes["spanledger.model.instead_of"] == "gpt-4o"
        assert provider.seen[-1].body["model"] == "gpt-4o-mini"


def test_a_hook_that_fails_or_names_nothing_refuses_the_call(
    client: Any, spans: Spans, clean_environ: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(refusal: LimitExceeded, model: str | None) -> str | None:
        raise ZeroDivisionError

    with CheckApi(refused=("gpt-4o",)) as api:
        _guard(clean_environ, api.url)
        hooks: list[Any] = [broken, lambda refusal, model: None, lambda refusal, model: model]
        for hook in hooks:
            instrument(on_limit=hook)
            with pytest.raises(LimitExceeded, match="tenant acme"):
                client.chat.completions.create(**ASK)
    assert spans.calls() == []


def test_checks_fetched_ahead_decide_without_asking_and_each_call_has_a_hold_of_its_own(
    client: Any, spans: Spans, clean_environ: pytest.MonkeyPatch
) -> None:
    with CheckApi() as api:
        _guard(clean_environ, api.url, SPANLEDGER_GUARD_LEASE="6")
        client.chat.completions.create(**ASK)
        client.chat.completions.create(**ASK)
        _until(lambda: len(api.asked) == 8)
        ahead = [number for number, question in enumerate(api.asked, 1) if question.get("lease_seconds") == 60]
        assert len(ahead) == 6
        for _ in range(2):
            client.chat.completions.create(**ASK)
        assert len(api.asked) == 8
        holds = [said(span)["spanledger.hold.id"] for span in spans.calls()]
        assert len(set(holds)) == 4
        assert holds[2:] == [f"hold-{number}" for number in ahead[:2]]
        api.wait_for(("POST", f"/api/holds/{holds[2]}/extend", {"lease_seconds": 600}))
        uninstrument()
        for left in ahead[2:]:
            api.wait_for(("DELETE", f"/api/holds/hold-{left}", None))


def test_when_nothing_is_left_ahead_the_api_is_asked_and_its_refusal_is_raised(
    client: Any, spans: Spans, clean_environ: pytest.MonkeyPatch
) -> None:
    with CheckApi(allowed=4) as api:
        _guard(clean_environ, api.url, SPANLEDGER_GUARD_LEASE="2")
        client.chat.completions.create(**ASK)
        client.chat.completions.create(**ASK)
        _until(lambda: len(api.asked) == 4)
        client.chat.completions.create(**ASK)
        client.chat.completions.create(**ASK)
        with pytest.raises(LimitExceeded, match="tenant acme"):
            client.chat.completions.create(**ASK)
    assert len(spans.calls()) == 4


def test_holds_of_a_lease_are_not_given_to_other_kinds_of_calls_nor_when_they_are_old() -> None:
    from spanledger.instrumentation.lease import Lease

    now = [0.0]
    fetched: list[Any] = []

    def fetch(question: Any) -> Any:
        fetched.append(question)
        return 200, {"hold_id": f"h{len(fetched)}"}

    lease = Lease(2, fetch, lambda errand: errand(), clock=lambda: now[0])
    question = {"tenant": "a", "model": "m", "input_tokens": 300, "tags": {"x": "1"}}
    assert lease.take(question) == (False, None)
    assert lease.take(question) == (False, None)
    assert fetched[0]["input_tokens"] == 512
    assert lease.take({**question, "tenant": "b"}) == (False, None)
    assert lease.take({**question, "input_tokens": 900}) == (False, None)
    assert lease.take({**question, "input_tokens": 510}) == (True, "h1")
    now[0] = 56.0
    assert lease.take(question) == (False, None)


def test_a_call_is_not_refused_because_what_is_left_is_being_fetched_ahead() -> None:
    from spanledger.instrumentation.lease import Lease

    errands: list[Callable[[], None]] = []
    left = iter([(200, {"hold_id": "last"})])
    lease = Lease(2, lambda _: next(left, (429, {})), errands.append)
    question = {"tenant": "a"}
    assert lease.take(question) == lease.take(question) == (False, None)
    # The errand takes the last hold; meanwhile the call itself was asked for, and refused.
    fetching = threading.Timer(0.05, errands.pop())
    fetching.start()
    assert lease.wait(question, 30) == "last"
    fetching.join()
    assert lease.wait(question, 30) is None
    assert lease.wait({"tenant": "never seen"}, 30) is None


def test_the_lease_of_a_call_that_takes_long_is_extended_until_it_ends_or_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    from spanledger.instrumentation import guard as module
    from spanledger.instrumentation.answer import Asked, Operation, nothing
    from spanledger.instrumentation.settings import Settings

    monkeypatch.setattr(module, "EXTENDED_AFTER_SECONDS", 0.0)

    def extended(hold: str) -> int:
        return api.told.count(("POST", f"/api/holds/{hold}/extend", {"lease_seconds": 600}))

    with CheckApi() as api:
        guard = module.Guard(Settings(api=api.url, guard_timeout_ms=20_000))
        guard._courier._seconds = 0.05
        asked = Asked(operation=Operation(name="chat", read=nothing), provider="openai", model="gpt-4o")
        runs, gone, ended = (guard.check(asked, {}) for _ in range(3))
        assert runs is not None
        assert ended is not None
        _until(lambda: min(extended("hold-1"), extended("hold-2"), extended("hold-3")) > 0)
        guard.finish(ended, None, failed=True)
        del gone
        api.wait_for(("POST", "/api/holds/hold-3/settle", {"input_tokens": 0, "output_tokens": 0, "cost_usd": "0"}))
        seen = [extended(f"hold-{number}") for number in (1, 2, 3)]
        _until(lambda: extended("hold-1") >= seen[0] + 5)
        assert extended("hold-2") <= seen[1] + 1
        assert extended("hold-3") <= seen[2] + 1
        guard.close()


def test_a_closed_guard_leaves_no_thread_once_its_last_call_has_ended(clean_environ: pytest.MonkeyPatch) -> None:
    from spanledger.instrumentation.answer import Asked, Operation, nothing
    from spanledger.instrumentation.guard import Guard
    from spanledger.instrumentation.settings import Settings

    with CheckApi() as api:
        guard = Guard(Settings(api=api.url, guard_timeout_ms=20_000))
        hold = guard.check(Asked(operation=Operation(name="chat", read=nothing), provider="openai", model="gpt-4o"), {})
        assert hold is not None
        thread = guard._courier._thread
        guard.close()
        assert thread is not None
        assert thread.is_alive()
        guard.finish(hold, None, failed=True)
        api.wait_for(("POST", "/api/holds/hold-1/settle", {"input_tokens": 0, "output_tokens": 0, "cost_usd": "0"}))
        thread.join(60)
        assert not thread.is_alive()
        guard.finish(hold, None, failed=True)
        _until(lambda: len(api.told) == 2 and guard._courier._thread is None)


def test_calls_of_different_traces_share_a_lease_unless_some_limit_is_per_trace() -> None:
    from spanledger.instrumentation.lease import Lease

    ids = iter("abcdefgh")
    for looked_at, shared in (({"tenant"}, True), ({"tenant", "trace"}, False)):
        lease = Lease(2, lambda _: (200, {"hold_id": next(ids)}), lambda errand: errand())
        assert lease.take({"tenant": "a", "trace": "1"}) == (False, None)
        lease.dimensions = frozenset(looked_at)
        assert lease.take({"tenant": "a", "trace": "2"}) == (False, None)
        assert lease.take({"tenant": "a", "trace": "3"})[0] is shared


def test_where_no_limit_covers_a_call_it_passes_for_a_while_without_asking() -> None:
    from spanledger.instrumentation.lease import Lease

    now = [0.0]
    asked: list[Any] = []

    def free(question: Any) -> Any:
        asked.append(question)
        return 200, {"hold_id": None}

    lease = Lease(4, free, lambda errand: errand(), lambda: now[0])
    question = {"model": "m", "input_tokens": 10}
    lease.take(question)
    lease.take(question)
    assert [lease.take(question) for _ in range(50)] == [(True, None)] * 50
    assert len(asked) == 1
    now[0] = 6.0
    assert lease.take(question) == (False, None)


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)
