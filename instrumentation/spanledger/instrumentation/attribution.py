"""On whose account a call is: tenant, project, user, agent, session and tags, by context and by W3C baggage."""

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextvars import ContextVar
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple, Self, TypeVar, cast

#: Span attribute of each dimension.
DIMENSIONS = {
    "tenant": "spanledger.tenant",
    "project": "spanledger.project",
    "user": "user.id",
    "agent": "gen_ai.agent.name",
    "session": "gen_ai.conversation.id",
}
TAG = "spanledger.tag."
BAGGAGE = "spanledger."

F = TypeVar("F", bound=Callable[..., Any])


class _Layer(NamedTuple):
    """What holds inside the innermost `attribute`, what it said itself, and what holds outside of it."""

    names: Mapping[str, str]
    outer: "_Layer | None"
    outer_baggage: Mapping[str, object]


_layer: ContextVar[_Layer | None] = ContextVar("spanledger.attribution", default=None)


class attribute:
    """Attribute every call inside to whom it is for. Nests: an inner one adds to the outer one, or replaces.

        with attribute(tenant="acme", user="u-17", feature="search"):
            client.chat.completions.create(...)

        @attribute(agent="researcher")
        async def research(question): ...

    Works on functions, coroutine functions, generators and asynchronous generators, and in `async` code as a plain
    `with`. Other names are free tags. The values also travel as W3C baggage, so that a call made by a service
    further on is attributed as well. A value of None is left out.
    """

    __slots__ = ("_names",)

    def __init__(
        self,
        *,
        tenant: str | None = None,
        project: str | None = None,
        user: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        **tags: str | int | float | bool | None,
    ) -> None:
        dimensions = {"tenant": tenant, "project": project, "user": user, "agent": agent, "session": session}
        self._names = {name: sendable(str(value)) for name, value in dimensions.items() if value is not None}
        self._names.update({f"tag.{sendable(tag)}": sendable(str(value)) for tag, value in tags.items() if value is not None})

    def __enter__(self) -> Self:
        outer = _layer.get()
        names = {**outer.names, **self._names} if outer is not None else self._names
        _layer.set(_Layer(names, outer, _set_baggage(self._names)))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        layer = _layer.get()
        if layer is not None:
            # No token is kept: a generator may be closed in another context than the one it was started in.
            _layer.set(layer.outer)
            _restore_baggage(self._names, layer.outer_baggage)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, function: F) -> F:
        wrapped: Any
        if inspect.isasyncgenfunction(function):

            @functools.wraps(function)
            async def wrapped(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
                inner = function(*args, **kwargs)
                step, sent = inner.asend, None
                try:
                    while True:
                        with self:
                            try:
                                value = await step(sent)
                            except StopAsyncIteration:
                                return
                        try:
                            step, sent = inner.asend, (yield value)
                        except GeneratorExit:
                            raise
                        except BaseException as error:
                            step, sent = inner.athrow, error
                finally:
                    with self:
                        await inner.aclose()

        elif inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def wrapped(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
                inner = function(*args, **kwargs)
                step, sent = inner.send, None
                try:
                    while True:
                        with self:
                            try:
                                value = step(sent)
                            except StopIteration as stop:
                                return stop.value
                        try:
                            step, sent = inner.send, (yield value)
                        except GeneratorExit:
                            raise
                        except BaseException as error:
                            step, sent = inner.throw, error
                finally:
                    with self:
                        inner.close()

        elif inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def wrapped(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return await function(*args, **kwargs)

        else:

            @functools.wraps(function)
            def wrapped(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return function(*args, **kwargs)

        return cast(F, wrapped)


NOBODY: Mapping[str, str] = MappingProxyType({})


def current() -> Mapping[str, str]:
    """Who the present call is for: `tenant` …, `tag.<name>` → value; baggage first, `attribute` over it."""
    import opentelemetry.baggage as baggage

    layer = _layer.get()
    carried = baggage.get_all()
    if not carried:
        return NOBODY if layer is None else layer.names
    start = len(BAGGAGE)
    names = {sendable(key[start:]): sendable(str(value)) for key, value in carried.items() if key.startswith(BAGGAGE)}
    if layer is not None:
        names.update(layer.names)
    return names


def sendable(text: str) -> str:
    """The same, with U+FFFD for every half of a character: neither a span nor a check can carry one, and both would go without
    the name."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def put(names: Mapping[str, str], attributes: dict[str, Any]) -> None:
    """Add the span attributes of these names; ones that are neither a dimension nor a tag are left out."""
    for name, value in names.items():
        if (key := DIMENSIONS.get(name)) is not None:
            attributes[key] = value
        elif name.startswith("tag."):
            attributes["spanledger." + name] = value


def _set_baggage(names: Mapping[str, str]) -> Mapping[str, object]:
    """Put the names into the context's baggage and give back what was there under them."""
    from opentelemetry import baggage, context

    now = context.get_current()
    before = baggage.get_all(now)
    for name, value in names.items():
        now = baggage.set_baggage(BAGGAGE + name, value, now)
    context.attach(now)
    return before


def _restore_baggage(names: Mapping[str, str], before: Mapping[str, object]) -> None:
    from opentelemetry import baggage, context

    now = context.get_current()
    for name in names:
        key = BAGGAGE + name
        now = baggage.set_baggage(key, before[key], now) if key in before else baggage.remove_baggage(key, now)
    context.attach(now)
