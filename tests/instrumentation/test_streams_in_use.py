"""What applications do with streams: threads, tasks, tee; and that nothing is kept alive."""

import asyncio
import contextlib
import gc
import itertools
import os
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from spanledger.cli.provider_stand_in import StandIn
from spanledger.instrumentation.call import open_calls
from tests.instrumentation.asking import ANTHROPIC_USAGE, MESSAGES, OPENAI_USAGE, usage
from tests.instrumentation.conftest import Spans

STREAM: dict[str, Any] = {"model": "gpt-4o", "messages": MESSAGES, "stream": True, "stream_options": {"include_usage": True}}


@pytest.fixture
def client(provider: StandIn) -> Iterator[Any]:
    with openai.OpenAI(base_url=provider.url + "/v1", api_key="any", max_retries=0) as client:
        yield client


def test_a_stream_read_on_another_thread_is_one_call(client: Any, spans: Spans) -> None:
    stream = client.chat.completions.create(**STREAM)
    reader = threading.Thread(target=lambda: list(stream))
    reader.start()
    reader.join()
    assert usage(spans.one()) == OPENAI_USAGE


def test_a_stream_closed_on_another_thread_while_it_is_read_is_one_call(client: Any, provider: StandIn, spans: Spans) -> None:
    stream = client.chat.completions.create(**STREAM)
    next(stream)
    closer = threading.Thread(target=stream.close)
    closer.start()
    # However the client takes it: it may have read to the end, or find its response closed.
    with contextlib.suppress(openai.APIError):
        list(stream)
    closer.join()
    spans.one()


def test_a_stream_read_in_another_task_is_one_call(provider: StandIn, spans: Spans) -> None:
    async def run() -> None:
        async with openai.AsyncOpenAI(base_url=provider.url + "/v1", api_key="any") as client:
            stream = await client.chat.completions.create(**STREAM)

            async def read() -> None:
                async for _ in stream:
                    pass

            await asyncio.gather(asyncio.create_task(read()))

    asyncio.run(run())
    assert usage(spans.one()) == OPENAI_USAGE


def test_a_tee_reads_once_and_counts_once(client: Any, spans: Spans) -> None:
    one, two = itertools.tee(client.chat.completions.create(**STREAM))
    assert len(list(one)) == len(list(two)) > 10
    assert usage(spans.one()) == OPENAI_USAGE


def test_an_events_helper_and_a_snapshot_are_one_call(provider: StandIn, spans: Spans) -> None:
    asked: dict[str, Any] = {"model": "claude-opus-4-6", "max_tokens": 99, "messages": MESSAGES}
    with anthropic.Anthropic(base_url=provider.url, api_key="any") as client, client.messages.stream(**asked) as stream:
        for _ in stream:
            assert stream.current_message_snapshot.id.startswith("msg_")
        assert stream.get_final_text()
    assert usage(spans.one()) == ANTHROPIC_USAGE


def test_many_calls_at_once_keep_their_counts_apart(provider: StandIn, spans: Spans) -> None:
    async def run() -> None:
        async with openai.AsyncOpenAI(base_url=provider.url + "/v1", api_key="any") as client:

            async def ask(number: int) -> None:
                messages: list[Any] = [{"role": "user", "content": f"[[input={1000 + number} output=7]]"}]
                await client.chat.completions.create(model="gpt-4o", messages=messages)

            await asyncio.gather(*(ask(number) for number in range(40)))

    asyncio.run(run())
    assert sorted(usage(span)["gen_ai.usage.input_tokens"] for span in spans.calls()) == [1000 + n for n in range(40)]


def _some(client: Any, count: int) -> None:
    for _ in range(count):
        list(client.chat.completions.create(**STREAM))
        client.chat.completions.create(**STREAM).close()
        stream = client.chat.completions.create(**STREAM)
        next(stream)
        del stream
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES)


def _kept(client: Any, spans: Spans, count: int) -> int:
    _some(client, 10)
    spans.clear()
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(count // 10):
            _some(client, 10)
            spans.clear()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


@pytest.fixture
def client_of_another_process() -> Iterator[Any]:
    """So that what the stand-in keeps is not in the figures."""
    command = [sys.executable, "-m", "spanledger.cli.provider_stand_in"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stand_in:
        assert stand_in.stdout is not None
        url = stand_in.stdout.readline().strip()
        with openai.OpenAI(base_url=url + "/v1", api_key="any", max_retries=0) as client:
            yield client
        stand_in.communicate("")


def test_nothing_is_kept_alive(client_of_another_process: Any, spans: Spans) -> None:
    assert _kept(client_of_another_process, spans, 30) < 150_000
    assert len(open_calls) == 0


def test_no_call_leaves_rings_to_the_garbage_collector(client_of_another_process: Any, spans: Spans) -> None:
    def ours() -> int:
        return sum(str(type(thing).__module__).startswith("spanledger.instrumentation") for thing in gc.get_objects())

    client = client_of_another_process
    client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    gc.collect()
    gc.disable()
    try:
        before = ours()
        for _ in range(20):
            client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
            list(client.chat.completions.create(**STREAM))
        assert ours() - before <= 2
    finally:
        gc.enable()


def _resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_calls_leave_memory_flat(client_of_another_process: Any, spans: Spans) -> None:
    """Four calls a round: a stream that is read, one that is closed, one that is dropped, and a plain one."""
    client, size = client_of_another_process, []
    for _ in range(26):
        for _ in range(100):
            _some(client, 10)
            spans.clear()
        gc.collect()
        size.append(_resident())
        print(f"{len(size) * 4_000} calls: {size[-1] / 2**20:.1f} MiB", flush=True)
    # The first four thousand calls fill the client's and the interpreter's own caches.
    assert size[-1] - size[0] < 4 * 2**20, size
    assert len(open_calls) == 0
