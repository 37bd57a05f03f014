"""Meters the request layers that only work when they are read: generators, and context managers.

Nothing is sent before the first event is asked for, so the check, the span and the time to the first event begin there;
a stream that is never read is no call. What surrounds the call (tenant, user, tags) is that of the moment it was made.
"""

import sys
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from spanledger.instrumentation import harmless
from spanledger.instrumentation.answer import Asked
from spanledger.instrumentation.call import Call
from spanledger.instrumentation.engine import ENGINE
from spanledger.instrumentation.metering import Original, begin_async, begin_sync, enter, names_now, watch
from spanledger.instrumentation.provider import Provider
from spanledger.instrumentation.streams import left


def generator(
    provider: Provider,
    original: Original,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    asked: Asked,
    names: Mapping[str, str],
) -> Generator[Any, Any, Any]:
    """The generator that `original` gives, metered from its first event on."""
    call = begin_sync(asked, names)
    if asked.sent is not None:
        client, rest, kwargs = asked.sent
        args = (client, *rest)
    if call is None:
        return (yield from original(*args, **kwargs))
    inner: Iterator[Any] | None = None
    while True:
        leave = enter(provider, call)
        try:
            if inner is None:
                inner = iter(original(*args, **kwargs))
            event = next(inner)
        except StopIteration as stop:
            call.end()
            return stop.value
        except BaseException as error:
            call.end(left(error))
            raise
        finally:
            leave()
        _see(call, event)
        try:
            yield event
        except BaseException as error:
            close = getattr(inner, "close", None)
            if close is not None:
                close()
            call.end(left(error))
            raise


async def async_generator(
    provider: Provider,
    original: Original,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    asked: Asked,
    names: Mapping[str, str],
) -> AsyncGenerator[Any, None]:
    """The same for an asynchronous generator, or a coroutine that gives one."""
    call = await begin_async(asked, names)
    if asked.sent is not None:
        client, rest, kwargs = asked.sent
        args = (client, *rest)
    inner: AsyncIterator[Any] | None = None
    while True:
        leave = enter(provider, call)
        try:
            if inner is None:
                made = original(*args, **kwargs)
                inner = aiter(await made if hasattr(made, "__await__") else made)
            event = await anext(inner)
        except StopAsyncIteration:
            _end(call, None)
            return
        except BaseException as error:
            _end(call, error)
            raise
        finally:
            leave()
        if call is not None:
            _see(call, event)
        try:
            yield event
        except BaseException as error:
            close = getattr(inner, "aclose", None)
            if close is not None:
                await close()
            _end(call, error)
            raise


def meter_generator(provider: Provider, original: Original) -> Original:
    """A generator function, metered."""

    def metered(*args: Any, **kwargs: Any) -> Any:
        asked = ENGINE.ask(provider, args[0] if args else None, args[1:], kwargs)
        if asked is None:
            return original(*args, **kwargs)
        return generator(provider, original, args, kwargs, asked, names_now())

    return metered


def meter_async_generator(provider: Provider, original: Original) -> Original:
    """An asynchronous generator function, metered."""

    def metered(*args: Any, **kwargs: Any) -> Any:
        asked = ENGINE.ask(provider, args[0] if args else None, args[1:], kwargs)
        if asked is None:
            return original(*args, **kwargs)
        return async_generator(provider, original, args, kwargs, asked, names_now())

    return metered


def meter_context(provider: Provider, original: Original) -> Original:
    """A function that gives a context manager around an answer that is read inside it, metered."""

    @contextmanager
    def metered(client: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        asked = ENGINE.ask(provider, client, args, kwargs)
        call = None if asked is None else begin_sync(asked, names_now())
        if asked is not None and asked.sent is not None:
            client, args, kwargs = asked.sent
        leave = enter(provider, call)
        try:
            manager = original(client, *args, **kwargs)
            answer = manager.__enter__()
        except BaseException as error:
            _end(call, error)
            raise
        finally:
            leave()
        if call is not None:
            watch(provider, call, answer)
        try:
            yield answer
        except BaseException as error:
            _end(call, error)
            if not manager.__exit__(*sys.exc_info()):
                raise
        else:
            _end(call, None)
            manager.__exit__(None, None, None)

    return metered


def meter_async_context(provider: Provider, original: Original) -> Original:
    """The same for an asynchronous context manager."""

    @asynccontextmanager
    async def metered(client: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        asked = ENGINE.ask(provider, client, args, kwargs)
        call = None if asked is None else await begin_async(asked, names_now())
        if asked is not None and asked.sent is not None:
            client, args, kwargs = asked.sent
        leave = enter(provider, call)
        try:
            manager = original(client, *args, **kwargs)
            answer = await manager.__aenter__()
        except BaseException as error:
            _end(call, error)
            raise
        finally:
            leave()
        if call is not None:
            watch(provider, call, answer)
        try:
            yield answer
        except BaseException as error:
            _end(call, error)
            if not await manager.__aexit__(*sys.exc_info()):
                raise
        else:
            _end(call, None)
            await manager.__aexit__(None, None, None)

    return metered


def _end(call: Call | None, error: BaseException | None) -> None:
    if call is not None:
        call.end(None if error is None else left(error))


def _see(call: Call, event: Any) -> None:
    if not call.first_at:
        call.saw_chunk()
    try:
        call.asked.operation.read_event(event, call.answer)
    except Exception as bug:
        harmless.drop(bug, "reading an event of a stream")
