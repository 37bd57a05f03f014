"""Meters a request layer: one wrapper around the client's own method, which must not disturb anything."""

from collections.abc import Callable, Mapping
from typing import Any

from spanledger.instrumentation import attribution, guarded, harmless, results
from spanledger.instrumentation.answer import Asked
from spanledger.instrumentation.call import Call
from spanledger.instrumentation.engine import ENGINE
from spanledger.instrumentation.provider import Provider
from spanledger.instrumentation.silence import nothing, silent

Original = Callable[..., Any]


def names_now() -> Mapping[str, str]:
    """Whom the call is for, as the application has said so far."""
    try:
        return attribution.current()
    except Exception as bug:
        harmless.drop(bug, "reading the attribution")
        return attribution.NOBODY


def begin_sync(asked: Asked, names: Mapping[str, str]) -> Call | None:
    """Ask the guard, then begin the call; may raise LimitExceeded. None: it is not to be metered."""
    hold = None if ENGINE.guard is None else guarded.checked(ENGINE.guard, asked, names)
    return ENGINE.begin(asked, names, hold)


async def begin_async(asked: Asked, names: Mapping[str, str]) -> Call | None:
    """The same without blocking the event loop."""
    hold = None if ENGINE.guard is None else await guarded.checked_async(ENGINE.guard, asked, names)
    return ENGINE.begin(asked, names, hold)


def enter(provider: Provider, call: Call | None) -> Callable[[], None]:
    """Make the call's span the current one around the client's own work; what is given back ends that."""
    if call is None:
        return nothing
    import opentelemetry.context as context  # in this form it costs a fifth of `from opentelemetry import context`

    token = context.attach(call.context)
    silenced = silent.set(True) if provider.silence and not call.asked.emits_own else None

    def leave() -> None:
        if silenced is not None:
            silent.reset(silenced)
        context.detach(token)

    return leave


def watch(provider: Provider, call: Call, result: Any) -> Any:
    """Read what the client returns, or arrange that it is read as the application does; gives what the client's own code
    is to read in its place."""
    try:
        instead = (provider.watch or results.watch)(call, result)
    except Exception as bug:
        call.end()
        harmless.drop(bug, "reading an answer")
        return result
    return result if instead is None else instead


def _gathered(asked: Asked, names: Mapping[str, str], result: Any) -> Any:
    try:
        if not ENGINE.settings.sdk_disabled:
            from spanledger.instrumentation import harvest

            harvest.gather(ENGINE.tracing, asked, names, result)
    except Exception as bug:
        harmless.drop(bug, "reading what was fetched")
    return result


def meter_sync(provider: Provider, original: Original) -> Original:
    """The request layer of a client, metered."""

    def metered(client: Any, *args: Any, **kwargs: Any) -> Any:
        asked = ENGINE.ask(provider, client, args, kwargs)
        if asked is None:
            return original(client, *args, **kwargs)
        names = names_now()
        if asked.harvest is not None:
            return _gathered(asked, names, original(client, *args, **kwargs))
        if asked.lazy:
            from spanledger.instrumentation import lazy

            return lazy.generator(provider, original, (client, *args), kwargs, asked, names)
        call = begin_sync(asked, names)
        if asked.sent is not None:
            client, args, kwargs = asked.sent
        if call is None:
            return original(client, *args, **kwargs)
        leave = enter(provider, call)
        try:
            result = original(client, *args, **kwargs)
        except BaseException as error:
            call.end(error)
            raise
        finally:
            leave()
        return watch(provider, call, result)

    return metered


def meter_async(provider: Provider, original: Original) -> Original:
    """The asynchronous request layer of a client, metered."""

    async def metered(client: Any, *args: Any, **kwargs: Any) -> Any:
        asked = ENGINE.ask(provider, client, args, kwargs)
        if asked is None:
            return await original(client, *args, **kwargs)
        names = names_now()
        if asked.harvest is not None:
            return _gathered(asked, names, await original(client, *args, **kwargs))
        if asked.lazy:
            from spanledger.instrumentation import lazy

            return lazy.async_generator(provider, original, (client, *args), kwargs, asked, names)
        call = await begin_async(asked, names)
        if asked.sent is not None:
            client, args, kwargs = asked.sent
        if call is None:
            return await original(client, *args, **kwargs)
        leave = enter(provider, call)
        try:
            result = await original(client, *args, **kwargs)
        except BaseException as error:
            call.end(error)
            raise
        finally:
            leave()
        return watch(provider, call, result)

    return metered
