"""A style of calling a client, what its span must say, and how the result is compared with that of the client alone."""

import asyncio
import gc
import re
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from spanledger.instrumentation import instrument, uninstrument

PROMPT = "Say something. [[input=100 cache_read=60 output=40 reasoning=10]]"
WRITING = "Say something. [[input=100 cache_read=60 cache_write=20 cache_write_1h=5 output=40]]"
MESSAGES: list[Any] = [{"role": "user", "content": PROMPT}]

INPUT = {"gen_ai.usage.input_tokens": 100}
PLAIN = {**INPUT, "gen_ai.usage.output_tokens": 40}
CACHED = {**PLAIN, "gen_ai.usage.cache_read.input_tokens": 60}
REASONED = {**CACHED, "gen_ai.usage.reasoning.output_tokens": 10}
WRITTEN = {
    **CACHED,
    "gen_ai.usage.cache_write.input_tokens": 20,
}


class Spans:
    """What was emitted since the test began, or since it was cleared."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self.exporter = exporter

    def all(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def one(self) -> ReadableSpan:
        """The only one there is, of ours or of anyone's."""
        spans = self.all()
        assert len(spans) == 1, [(span.name, dict(span.attributes or {})) for span in spans]
        return spans[0]

    def clear(self) -> None:
        self.exporter.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """`use` calls the client with the stand-in's address and gives everything the application would see.

    `usage` is all of what the span may say about usage; `said` are further attributes; `absent` must not be there.
    `error` is the span's error type: then `use` gives the exception. `spans` is how many requests the client makes.
    """

    name: str
    use: Callable[[str], Any]
    usage: Mapping[str, Any] | None = field(default_factory=dict)
    said: Mapping[str, Any] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    error: str | None = None
    spans: int = 1

    def __str__(self) -> str:
        return self.name


def said(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def usage(span: ReadableSpan) -> dict[str, Any]:
    """What the span says was used, the cost and other meters included."""
    return {name: value for name, value in said(span).items() if "usage" in name or ".meter." in name}


def check(style: Style, url: str, spans: Spans) -> None:
    """The style gives the same with and without metering; with it, one span for each request, and it says what it must."""
    uninstrument()
    alone = told(style.use(url))
    spans.clear()
    instrument()
    metered = told(style.use(url))
    gc.collect()
    assert metered == alone
    emitted = spans.all()
    assert len(emitted) == style.spans, [(span.name, said(span)) for span in emitted]
    for span in emitted:
        attributes = said(span)
        assert span.kind is SpanKind.CLIENT
        assert span.name == " ".join(
            str(attributes[name]) for name in ("gen_ai.operation.name", "gen_ai.request.model") if name in attributes
        )
        assert style.usage is None or usage(span) == dict(style.usage), usage(span)
        assert {name: attributes.get(name) for name in style.said} == dict(style.said)
        assert not [name for name in style.absent if name in attributes]
        assert attributes.get("error.type") == style.error
        assert span.status.status_code is (StatusCode.UNSET if style.error is None else StatusCode.ERROR)
        if style.error is None and "cut_short" not in style.name:
            assert attributes.get("spanledger.stream.cut_short", False) is style.said.get("spanledger.stream.cut_short", False)


def told(result: Any) -> Any:
    """All of a result as plain values; what differs from request to request (numbers, times) is made the same."""
    if isinstance(result, str):
        return re.sub(_NUMBERED, "N", result)
    if isinstance(result, bytes):
        return re.sub(rb"\d{8,}", b"N", result)
    if result is None or isinstance(result, int | float | bool):
        return result
    if isinstance(result, Mapping):
        return {str(key): told(value) for key, value in result.items() if str(key).lower() not in _VARYING}
    if isinstance(result, list | tuple | set):
        return [told(value) for value in result]
    if isinstance(result, BaseException):
        return [type(result).__qualname__, re.sub(_NUMBERED, "N", str(result)), told(result.__cause__)]
    for dump in ("model_dump", "as_dict", "to_dict"):
        if callable(getattr(result, dump, None)):
            return [type(result).__qualname__, told(getattr(result, dump)())]
    if hasattr(result, "DESCRIPTOR"):
        return [type(result).__qualname__, told(str(result))]
    if is_dataclass(result) and not isinstance(result, type):
        return [type(result).__qualname__, {one.name: told(getattr(result, one.name)) for one in fields(result)}]
    if hasattr(result, "__dict__"):
        public = {name: value for name, value in vars(result).items() if not name.startswith("_")}
        return [type(result).__qualname__, told(public)]
    return [type(result).__qualname__, str(result)]


_NUMBERED = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d{8,}|at 0x\w+")
_VARYING = {"date", "requestid", "x-amzn-requestid", "x-request-id", "created_at", "created"}


def raised(use: Callable[[], Any]) -> BaseException:
    """The exception that the application gets."""
    try:
        use()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def waited(use: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """What a coroutine gives, in a loop of its own."""
    return asyncio.run(use())


async def gathered(stream: Any) -> list[Any]:
    return [event async for event in stream]
