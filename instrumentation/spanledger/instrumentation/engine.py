"""Meters every call of every client: one wrapper around each request layer, and everything it must not disturb."""

import atexit
import dataclasses
import os
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from spanledger.instrumentation import attribution, harmless, patching, results
from spanledger.instrumentation.answer import Asked
from spanledger.instrumentation.call import Call, forget_open_calls
from spanledger.instrumentation.errors import LimitExceeded
from spanledger.instrumentation.provider import Provider, RequestLayer
from spanledger.instrumentation.providers import PROVIDERS
from spanledger.instrumentation.settings import Settings
from spanledger.instrumentation.tracing import Tracing

if TYPE_CHECKING:
    from spanledger.instrumentation.content import Redact
    from spanledger.instrumentation.guard import Guard

OnLimit = Callable[[LimitExceeded, str | None], str | None]

#: Set while a metered request runs in a client that would otherwise emit a span of its own for it.
silent: ContextVar[bool] = ContextVar("spanledger.silent", default=False)


class Engine:
    """One per process: what was read from the environment, and where spans and checks go."""

    def __init__(self) -> None:
        self.active = False
        self.settings = Settings()
        self.tracing = Tracing()
        self.guard: Guard | None = None
        self.on_limit: OnLimit | None = None
        self._follows_processes = False

    def start(self, settings: Settings, on_limit: "OnLimit | None" = None, redact: "Redact | None" = None) -> None:
        """Meter the clients that are installed; a second time only takes over what it is given."""
        self.on_limit = on_limit
        before, self.settings = self.settings, settings
        self.tracing.disabled = settings.sdk_disabled
        self.tracing.captures = settings.captures
        self.tracing.redact = redact
        self.tracing.keeps_sampled_out = settings.keep_sampled_out
        if settings != before or not self.active:
            former, self.guard = self.guard, _guard(settings)
            if former is not None:
                former.close()
        self.active = True
        atexit.unregister(self._exit)
        atexit.register(self._exit)
        patching.install(_targets(PROVIDERS))

    def stop(self) -> None:
        """Leave the clients as they were found, and send what is held."""
        self.active = False
        patching.remove()
        for provider in PROVIDERS:
            for layer in (*provider.layers, *provider.silence):
                module = sys.modules.get(layer.module)
                if module is not None:
                    patching.restore(module, layer)
        self.tracing.flush()
        if self.guard is not None:
            self.guard.close()
            self.guard = None

    def finish(self) -> None:
        """The process ends: nothing that was metered is lost."""
        self.tracing.finish()
        self._exit()

    def _exit(self) -> None:
        # Exit hooks run backwards: the open calls have been ended by now, and have told the guard.
        if self.guard is not None:
            self.guard.close()

    def before_fork(self) -> None:
        self.tracing.before_fork()
        util = sys.modules.get("multiprocessing.util")
        if util is not None and not self._follows_processes:
            self._follows_processes = True
            # A process that multiprocessing forked ends by os._exit: exit hooks do not run there, its finalizers do.
            util.register_after_fork(self, lambda engine: util.Finalize(None, engine.finish, exitpriority=100))

    def after_fork_here(self) -> None:
        self.tracing.after_fork()

    def after_fork(self) -> None:
        forget_open_calls()
        self.tracing.forget()
        if self.guard is not None:
            self.guard.forget()

    def ask(self, provider: Provider, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Asked | None:
        """What the request asks; None when it is not to be metered."""
        if not self.active:
            return None
        try:
            asked = provider.ask(client, args, kwargs, self.settings)
            return None if asked is None or _suppressed() else asked
        except Exception as bug:
            harmless.drop(bug, f"reading a request of {provider.name}")
            return None

    def begin(self, asked: Asked, names: Mapping[str, str], hold: Any) -> Call | None:
        """The call with its span begun; None when that failed or telemetry is off."""
        if self.settings.sdk_disabled and hold is None:
            return None
        try:
            return Call(self.tracing, asked, names, hold, self.guard)
        except Exception as bug:
            harmless.drop(bug, "starting a call")
            return None


ENGINE = Engine()


def names_now() -> Mapping[str, str]:
    """Whom the call is for, as the application has said so far."""
    try:
        return attribution.current()
    except Exception as bug:
        harmless.drop(bug, "reading the attribution")
        return attribution.NOBODY


def begin_sync(asked: Asked, names: Mapping[str, str]) -> Call | None:
    """Ask the guard, then begin the call; may raise LimitExceeded. None: it is not to be metered."""
    hold = None if ENGINE.guard is None else _checked(ENGINE.guard, asked, names)
    return ENGINE.begin(asked, names, hold)


async def begin_async(asked: Asked, names: Mapping[str, str]) -> Call | None:
    """The same without blocking the event loop."""
    hold = None if ENGINE.guard is None else await _checked_async(ENGINE.guard, asked, names)
    return ENGINE.begin(asked, names, hold)


def watch(provider: Provider, call: Call, result: Any) -> None:
    """Read what the client returns, or arrange that it is read as the application does."""
    try:
        (provider.watch or results.watch)(call, result)
    except Exception as bug:
        call.end()
        harmless.drop(bug, "reading an answer")


def _gathered(asked: Asked, names: Mapping[str, str], result: Any) -> Any:
    try:
        if not ENGINE.settings.sdk_disabled:
            from spanledger.instrumentation import harvest

            harvest.gather(ENGINE.tracing, asked, names, result)
    except Exception as bug:
        harmless.drop(bug, "reading what was fetched")
    return result


def meter_sync(provider: Provider, original: Callable[..., Any]) -> Callable[..., Any]:
    """The request layer of a client, metered."""
    read = provider.watch or results.watch

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
        if call is None:
            return original(client, *args, **kwargs)
        if asked.args is not None and asked.kwargs is not None:
            args, kwargs = asked.args, dict(asked.kwargs)
        leave = enter(provider, call)
        try:
            result = original(client, *args, **kwargs)
        except BaseException as error:
            call.end(error)
            raise
        finally:
            leave()
        try:
            instead = read(call, result)
        except Exception as bug:
            call.end()
            harmless.drop(bug, "reading an answer")
            return result
        return result if instead is None else instead

    return metered


def meter_async(provider: Provider, original: Callable[..., Any]) -> Callable[..., Any]:
    """The asynchronous request layer of a client, metered."""
    read = provider.watch or results.watch

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
        if call is None:
            return await original(client, *args, **kwargs)
        if asked.args is not None and asked.kwargs is not None:
            args, kwargs = asked.args, dict(asked.kwargs)
        leave = enter(provider, call)
        try:
            result = await original(client, *args, **kwargs)
        except BaseException as error:
            call.end(error)
            raise
        finally:
            leave()
        try:
            instead = read(call, result)
        except Exception as bug:
            call.end()
            harmless.drop(bug, "reading an answer")
            return result
        return result if instead is None else instead

    return metered


def silence(layer: RequestLayer) -> patching.Wrap:
    """A client's own starting of a span: there is none for a request that is metered here."""
    if layer.style == "tracer":
        return QuietTracer
    instead = layer.instead or _nothing

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def quiet(*args: Any, **kwargs: Any) -> Any:
            return instead(*args, **kwargs) if silent.get() else original(*args, **kwargs)

        return quiet

    return wrap


def _guard(settings: Settings) -> "Guard | None":
    if not settings.guard:
        return None
    from spanledger.instrumentation.guard import Guard

    return Guard(settings)


class QuietTracer:
    """Stands where a client keeps its tracer: it starts no span while a request of it is metered here."""

    def __init__(self, tracer: Any) -> None:
        self._tracer = tracer

    def __getattr__(self, name: str) -> Any:
        if silent.get():
            from opentelemetry.trace import NoOpTracer

            return getattr(NoOpTracer(), name)
        return getattr(self._tracer, name)


def _checked(guard: "Guard", asked: Asked, names: Mapping[str, str]) -> Any:
    try:
        try:
            return guard.check(asked, names)
        except LimitExceeded as refusal:
            if not _instead(refusal, asked):
                raise
        return guard.check(asked, names)
    except LimitExceeded:
        raise
    except Exception as bug:
        harmless.drop(bug, "asking the guard")
        return None


def _instead(refusal: LimitExceeded, asked: Asked) -> bool:
    """Whether the application's hook named another model for a refused call; that one is checked as well."""
    if ENGINE.on_limit is None or asked.swap is None:
        return False
    try:
        model = ENGINE.on_limit(refusal, asked.model)
    except Exception:
        # The application's own code failed: the limit stands, and is what the caller hears of.
        harmless.logger.exception("the on_limit hook failed; the call is refused")
        return False
    if not isinstance(model, str) or model == asked.model:
        return False
    asked.swap(model)
    return True


async def _checked_async(guard: "Guard", asked: Asked, names: Mapping[str, str]) -> Any:
    try:
        try:
            return await guard.check_async(asked, names)
        except LimitExceeded as refusal:
            if not _instead(refusal, asked):
                raise
        return await guard.check_async(asked, names)
    except LimitExceeded:
        raise
    except Exception as bug:
        harmless.drop(bug, "asking the guard")
        return None


def enter(provider: Provider, call: Call | None) -> Callable[[], None]:
    """Make the call's span the current one around the client's own work; what is given back ends that."""
    if call is None:
        return _nothing
    from opentelemetry import context

    token = context.attach(call.context)
    silenced = silent.set(True) if provider.silence and not call.asked.emits_own else None

    def leave() -> None:
        if silenced is not None:
            silent.reset(silenced)
        context.detach(token)

    return leave


def _nothing(*_: Any, **__: Any) -> None:
    pass


def _suppressed() -> bool:
    from opentelemetry import context

    now = context.get_current()
    return bool(now.get(context._SUPPRESS_INSTRUMENTATION_KEY) or now.get("suppress_instrumentation"))


def _targets(providers: tuple[Provider, ...]) -> patching.Targets:
    from spanledger.instrumentation import lazy

    meters: Mapping[str, Callable[[Provider, Any], Any]] = {
        "sync": meter_sync,
        "async": meter_async,
        "generator": lazy.meter_generator,
        "async_generator": lazy.meter_async_generator,
        "context": lazy.meter_context,
        "async_context": lazy.meter_async_context,
    }
    targets: patching.Targets = {}
    for provider in providers:
        for layer in provider.layers:
            of = provider if layer.ask is None else dataclasses.replace(provider, ask=layer.ask)
            targets.setdefault(layer.module, []).append((layer, _bound(meters[layer.style], of)))
        for layer in provider.silence:
            targets.setdefault(layer.module, []).append((layer, silence(layer)))
    return targets


def _bound(meter: Callable[[Provider, Any], Any], provider: Provider) -> patching.Wrap:
    return lambda original: meter(provider, original)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=ENGINE.before_fork, after_in_parent=ENGINE.after_fork_here, after_in_child=ENGINE.after_fork)
