"""Calls that were made earlier and are only told of now: batches, and responses made in the background."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spanledger.instrumentation import harmless
from spanledger.instrumentation.answer import Asked, Operation
from spanledger.instrumentation.call import Call
from spanledger.instrumentation.usage import field

if TYPE_CHECKING:
    from spanledger.instrumentation.tracing import Tracing

#: Ids that were told of already: polling a batch tells of it again and again. The collector knows them for good.
_MOST = 10_000
_told: OrderedDict[str, None] = OrderedDict()


@dataclass(frozen=True, slots=True, kw_only=True)
class Harvest:
    """What a fetched object tells of. `told` gives the id when it is complete, else None; `operation` reads it.

    `each`: what was fetched is a stream of such objects, told of as the application reads them.
    """

    operation: Operation
    told: Callable[[Any], str | None]
    each: bool = False


def gather(tracing: "Tracing", asked: Asked, names: Mapping[str, str], result: Any) -> None:
    """Emit a call for what this result tells of, now or as it is read."""
    harvest = asked.harvest
    if harvest is None:
        return
    if hasattr(result, "http_response") and not harvest.each:
        # Raw: its body is read already, and parsing is remembered by the client.
        result = result.parse()
    inner: Any = getattr(result, "_iterator", None)

    def emit(told_of: Any) -> None:
        try:
            _emit(tracing, asked, harvest, names, told_of)
        except Exception as bug:
            harmless.drop(bug, "reading what a batch tells of")

    if not harvest.each:
        emit(result)
    elif hasattr(inner, "__anext__"):
        result._iterator = _async_each(inner, emit)
    elif inner is not None:
        result._iterator = _each(inner, emit)


def _emit(tracing: "Tracing", asked: Asked, harvest: Harvest, names: Mapping[str, str], told_of: Any) -> None:
    key = harvest.told(told_of)
    if key is None or key in _told:
        return
    _told[key] = None
    if len(_told) > _MOST:
        _told.popitem(last=False)
    one = Asked(
        operation=harvest.operation,
        provider=asked.provider,
        model=None,
        address=asked.address,
        port=asked.port,
        attributes={"spanledger.told_later": True},
    )
    call = Call(tracing, one, names, None, None)
    harvest.operation.read(told_of, call.answer)
    call.answer.finished = True
    call.end()


def _each(inner: Iterator[Any], emit: Callable[[Any], None]) -> Iterator[Any]:
    for told_of in inner:
        emit(told_of)
        yield told_of


async def _async_each(inner: AsyncIterator[Any], emit: Callable[[Any], None]) -> AsyncIterator[Any]:
    async for told_of in inner:
        emit(told_of)
        yield told_of


def id_when(told_of: Any, *states: str) -> str | None:
    """The id of an object that has one of these states and a usage."""
    if field(told_of, "status") in states and field(told_of, "usage") is not None:
        return str(field(told_of, "id"))
    return None
