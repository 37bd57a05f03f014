"""Attribution holds inside `attribute`, and nowhere else: functions, coroutines, generators, tasks, baggage."""

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pytest
from opentelemetry import baggage, context
from opentelemetry.baggage.propagation import W3CBaggagePropagator

from spanledger.cli.provider_stand_in import StandIn
from spanledger.instrumentation import attribute
from spanledger.instrumentation.attribution import current
from tests.instrumentation.asking import MESSAGES, said
from tests.instrumentation.conftest import Spans


def test_the_span_says_whom_the_call_is_for(provider: StandIn, spans: Spans) -> None:
    with openai.OpenAI(base_url=provider.url + "/v1", api_key="any") as client:
        with attribute(tenant="acme", project="web", user="u-1", agent="writer", session="s-9", feature="search", shard=3):
            client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    inside, outside = (said(span) for span in spans.calls())
    attributed = {
        "spanledger.tenant": "acme",
        "spanledger.project": "web",
        "user.id": "u-1",
        "gen_ai.agent.name": "writer",
        "gen_ai.conversation.id": "s-9",
        "spanledger.tag.feature": "search",
        "spanledger.tag.shard": "3",
    }
    assert attributed.items() <= inside.items()
    assert not attributed.keys() & outside.keys()


def test_an_inner_one_adds_and_replaces_and_ends_with_its_block() -> None:
    with attribute(tenant="a", user="u", x=1):
        with attribute(user="v", session="s"):
            assert current() == {"tenant": "a", "user": "v", "session": "s", "tag.x": "1"}
        assert current() == {"tenant": "a", "user": "u", "tag.x": "1"}
    assert current() == {}


def test_it_decorates_every_kind_of_function() -> None:
    seen: list[Any] = []

    @attribute(tenant="t")
    def plain(value: int) -> int:
        """Says its name."""
        seen.append(dict(current()))
        return value + 1

    @attribute(tenant="t")
    async def coroutine() -> None:
        await asyncio.sleep(0)
        seen.append(dict(current()))

    assert plain(1) == 2
    assert (plain.__name__, plain.__doc__) == ("plain", "Says its name.")
    asyncio.run(coroutine())
    assert asyncio.iscoroutinefunction(coroutine)
    assert seen == [{"tenant": "t"}, {"tenant": "t"}]


def test_a_generator_is_attributed_while_it_runs_and_not_while_it_waits() -> None:
    inside: list[Any] = []

    @attribute(tenant="t")
    def numbers() -> Iterator[Any]:
        try:
            got = yield 1
            inside.append((got, dict(current())))
            try:
                yield 2
            except KeyError:
                inside.append(("caught", dict(current())))
            yield 3
        finally:
            inside.append(("closed", dict(current())))

    generator: Any = numbers()
    assert next(generator) == 1
    assert current() == {}
    assert generator.send("sent") == 2
    assert generator.throw(KeyError()) == 3
    assert current() == {}
    generator.close()
    assert inside == [("sent", {"tenant": "t"}), ("caught", {"tenant": "t"}), ("closed", {"tenant": "t"})]


def test_a_generator_keeps_its_return_value() -> None:
    @attribute(tenant="t")
    def numbers() -> Any:
        yield 1
        return "end"

    def outer() -> Any:
        return (yield from numbers())

    generator = outer()
    next(generator)
    with pytest.raises(StopIteration) as stop:
        next(generator)
    assert stop.value.value == "end"


def test_an_asynchronous_generator_is_attributed_while_it_runs() -> None:
    inside: list[Any] = []

    @attribute(tenant="t")
    async def numbers() -> AsyncIterator[int]:
        try:
            for number in range(3):
                await asyncio.sleep(0)
                inside.append(dict(current()))
                yield number
        finally:
            inside.append("closed")

    async def run() -> None:
        async for number in numbers():
            assert current() == {}
            if number == 1:
                break

    asyncio.run(run())
    assert inside == [{"tenant": "t"}, {"tenant": "t"}, "closed"]


def test_a_generator_closed_in_another_context_disturbs_nobody() -> None:
    @attribute(tenant="t")
    def numbers() -> Iterator[int]:
        yield 1
        yield 2

    generator: Any = numbers()
    contextvars.copy_context().run(next, generator)
    with attribute(tenant="mine"):
        generator.close()
        assert current() == {"tenant": "mine"}
    assert current() == {}


def test_tasks_and_threads_do_not_see_each_other() -> None:
    async def task(name: str) -> Any:
        with attribute(tenant=name):
            await asyncio.sleep(0.01)
            return current()["tenant"]

    async def run() -> Any:
        return await asyncio.gather(*(task(f"t{i}") for i in range(20)))

    assert asyncio.run(run()) == [f"t{i}" for i in range(20)]
    shared = attribute(tenant="shared")
    found: list[Any] = []

    def thread() -> None:
        with shared:
            found.append(dict(current()))
        found.append(dict(current()))

    threads = [threading.Thread(target=thread) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert found.count({"tenant": "shared"}) == found.count({}) == 4


def test_it_travels_as_baggage_to_the_next_service_and_back_out() -> None:
    headers: dict[str, str] = {}
    with attribute(tenant="acme", user="ü 1", feature="a,b"):
        W3CBaggagePropagator().inject(headers)
    assert baggage.get_all() == {}
    token = context.attach(W3CBaggagePropagator().extract(headers))
    try:
        assert current() == {"tenant": "acme", "user": "ü 1", "tag.feature": "a,b"}
        with attribute(tenant="nearer"):
            assert current()["tenant"] == "nearer"
        assert current()["tenant"] == "acme"
    finally:
        context.detach(token)


def test_baggage_of_others_is_left_as_it_is() -> None:
    token = context.attach(baggage.set_baggage("theirs", "1"))
    try:
        with attribute(tenant="t"):
            assert baggage.get_all() == {"theirs": "1", "spanledger.tenant": "t"}
        assert baggage.get_all() == {"theirs": "1"}
        assert current() == {}
    finally:
        context.detach(token)
