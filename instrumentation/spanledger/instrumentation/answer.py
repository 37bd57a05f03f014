"""What a request asks and what its answer says: what a provider's readers fill in and the engine puts on the span."""

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field as column
from typing import TYPE_CHECKING, Any

from spanledger.instrumentation.usage import Usage

if TYPE_CHECKING:
    from spanledger.instrumentation.harvest import Harvest


class Answer:
    """Gathered from a whole answer or piece by piece from a stream; None where nothing was said.

    `finished` says that the answer is whole; a stream that ends without it was cut short. `error` is an error type
    that the stream told instead of raising it. `pieces` and `characters` are how much of the answer's text was heard.
    `pending`: the answer is still being made, and its usage is told of later. `beside`: what the provider asked models
    for on its own account to make this answer, outside `usage` and charged as well; None for the model that answers.
    """

    __slots__ = (
        "beside", "characters", "choices", "error", "extra", "finish_reasons", "finished", "heard", "id", "model", "pending",
        "pieces", "usage",
    )  # fmt: skip

    def __init__(self) -> None:
        self.id: str | None = None
        self.model: str | None = None
        self.usage: Usage | None = None
        self.beside: list[tuple[str | None, Usage]] | None = None
        self.finish_reasons: dict[int, str] | None = None
        self.choices = 1
        self.pending = False
        self.heard: dict[int, list[str]] | None = None
        self.pieces = 0
        self.characters = 0
        self.finished = False
        self.error: str | None = None
        self.extra: dict[str, Any] | None = None

    def hear(self, text: str, index: int = 0) -> None:
        """A piece of the answer's text. It is measured, and kept only where `heard` is a place to keep it."""
        self.pieces += 1
        self.characters += len(text)
        if self.heard is not None:
            self.heard.setdefault(index, []).append(text)

    def say(self, name: str, value: Any) -> None:
        """Add a span attribute of the provider's own."""
        if self.extra is None:
            self.extra = {}
        self.extra[name] = value

    def meter(self, column: str, number: float) -> None:
        """Add what is charged other than tokens, by its column in the ledger: `images`, `audio_seconds`, `searches` …"""
        self.say(f"spanledger.meter.{column}", number)

    def finish(self, reason: Any, index: int = 0) -> None:
        """One choice has ended for this reason."""
        if self.finish_reasons is None:
            self.finish_reasons = {}
        self.finish_reasons[index] = str(reason)


Reader = Callable[[Any, Answer], None]
"""Reads a client's object, or the JSON it came from, into an answer. Starts no spans, catches nothing."""


def nothing(_: Any, answer: Answer) -> None:
    """Reads an answer that says nothing about itself, such as spoken audio."""
    answer.finished = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One kind of request: its name in OpenTelemetry's spelling, and how its answers are read.

    `skims`: all that its events tell, but for their text, is told by the first of them, the last few, and those with a usage.
    `counts_tokens`: it is charged by tokens, so they are estimated when the provider says nothing.
    """

    name: str
    read: Reader
    read_event: Reader = nothing
    counts_tokens: bool = False
    skims: bool = False


Sent = tuple[Any, tuple[Any, ...], dict[str, Any]]
"""The client, and the positional and the keyword arguments of its method."""


@dataclass(slots=True, kw_only=True)
class Asked:
    """What a request asks, known before it is sent.

    `attributes` go on the span as they are; `body` is the request's own and only looked at. `keep` says whether the
    application gets a piece of the stream: one that we asked for is kept from it. `sent` stands for the client and the
    arguments that its method was called with; `add` adds to them what only a call that is metered may carry, and `swap`
    makes them ask for another model. `emits_own`: the client's own span goes elsewhere and stays. `lazy`: what the layer
    gives is a generator that has sent nothing yet. `untold`: no telemetry is wanted of it. `harvest`: this request is no
    call itself, but fetches what tells of some.
    """

    operation: Operation
    provider: str
    model: str | None
    address: str | None = None
    port: int | None = None
    body: Any = None
    streamed: bool = False
    max_output_tokens: int | None = None
    attributes: dict[str, Any] = column(default_factory=dict)
    keep: Callable[[Any], bool] | None = None
    sent: Sent | None = None
    add: Callable[[], None] | None = None
    swap: Callable[[str], None] | None = None
    emits_own: bool = False
    lazy: bool = False
    untold: bool = False
    harvest: "Harvest | None" = None
