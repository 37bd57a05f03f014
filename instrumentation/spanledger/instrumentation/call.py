"""One call to a model: its span, begun before the request and ended exactly once, whichever way the call ends."""

import time
import weakref
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from spanledger.instrumentation import attribution, harmless
from spanledger.instrumentation.answer import Answer, Asked
from spanledger.instrumentation.failure import error_type
from spanledger.instrumentation.usage import Usage

if TYPE_CHECKING:
    from spanledger.instrumentation.guard import Guard, Hold
    from spanledger.instrumentation.skimming import Tail
    from spanledger.instrumentation.tracing import Tracing

#: Calls that are not ended yet, so that an interpreter that exits can end them.
open_calls: "weakref.WeakSet[Call]" = weakref.WeakSet()


class Call:
    """Starts its span when made. `context` is to be attached around the client's own work.

    Everything that raises here is a bug of ours; the engine keeps it from the application.
    """

    __slots__ = (
        "__weakref__",  # pyright: ignore[reportUninitializedInstanceVariable]: the interpreter makes it
        "_open", "answer", "asked", "context", "first_at", "guard", "hold", "names", "reading", "recording", "span",
        "started_at", "tail", "tracing",
    )  # fmt: skip

    def __init__(
        self, tracing: "Tracing", asked: Asked, names: Mapping[str, str], hold: "Hold | None", guard: "Guard | None"
    ) -> None:
        self.tracing = tracing
        self.asked = asked
        self.hold = hold
        self.names = names
        self.guard = guard
        self.answer = Answer()
        self.reading = False
        self.tail: Tail | None = None
        self.first_at = 0
        # An item that can be taken once: taking it is atomic, so of two threads that end a call one does.
        self._open = [True]
        attributes = asked.attributes
        attributes["gen_ai.operation.name"] = asked.operation.name
        attributes["gen_ai.provider.name"] = asked.provider
        if asked.model:
            attributes["gen_ai.request.model"] = asked.model
        if asked.address:
            attributes["server.address"] = asked.address
            if asked.port:
                attributes["server.port"] = asked.port
        if asked.streamed:
            attributes["gen_ai.request.stream"] = True
        if asked.max_output_tokens is not None:
            attributes["gen_ai.request.max_tokens"] = asked.max_output_tokens
        if names:
            attribution.put(names, attributes)
        if hold is not None:
            attributes["spanledger.hold.id"] = hold.id
        self.started_at = time.perf_counter_ns()
        name = f"{asked.operation.name} {asked.model}" if asked.model else asked.operation.name
        self.span, self.context = tracing.start_span(name, attributes) if not asked.untold else tracing.no_span()
        self.recording = self.span.is_recording()
        if tracing.captures and self.recording:
            self.answer.heard = {}
        open_calls.add(self)

    def saw_chunk(self) -> None:
        """The first piece of a stream has come."""
        self.first_at = time.perf_counter_ns()

    @property
    def ended(self) -> bool:
        return not self._open

    def end(self, error: BaseException | None = None) -> None:
        """Put what is known on the span and end it; a second time does nothing.

        `error` is what the client raised, or None. Cancellation and an early close are no errors of the provider:
        a stream that was left is marked as cut short.
        """
        if not self._open:
            return
        try:
            self._open.pop()
        except IndexError:
            return
        open_calls.discard(self)
        try:
            self._finish(error)
        except Exception as bug:
            harmless.drop(bug, "ending a call")

    def _finish(self, error: BaseException | None) -> None:
        answer, asked = self.answer, self.asked
        if self.tail is not None:
            self.tail.settle()
        failed = answer.error if error is None else error_type(error)
        attributes: dict[str, Any] = {}
        cut_short = asked.streamed and not answer.finished and (self.first_at or failed is None)
        if failed is None and asked.operation.counts_tokens and not answer.pending and (answer.usage is None or cut_short):
            self._estimate(attributes)
        if answer.beside:
            for model, usage in answer.beside:
                if model is None:
                    answer.usage = usage if answer.usage is None else answer.usage.plus(usage)
        if self.hold is not None and self.guard is not None:
            self.guard.finish(self.hold, answer.usage, failed=failed is not None and answer.usage is None)
        seconds = (time.perf_counter_ns() - self.started_at) / 1e9
        if answer.beside and not asked.untold:
            self._tell_beside(answer.beside)
        if not asked.untold:
            self.tracing.metrics.record(seconds, asked.attributes, answer.model, answer.usage, failed)
        if not self.recording:
            self.span.end()
            return
        if answer.id:
            attributes["gen_ai.response.id"] = answer.id
        if answer.model:
            attributes["gen_ai.response.model"] = answer.model
        if answer.usage is not None:
            answer.usage.put(attributes)
        reasons = answer.finish_reasons
        if reasons:
            attributes["gen_ai.response.finish_reasons"] = tuple(reasons.values())
        if answer.extra:
            attributes.update(answer.extra)
        if self.first_at:
            attributes["gen_ai.response.time_to_first_chunk"] = (self.first_at - self.started_at) / 1e9
        if answer.heard is not None:
            from spanledger.instrumentation import content

            content.put(asked, answer, attributes, self.tracing.redact)
        if cut_short:
            attributes["spanledger.stream.cut_short"] = True
        if failed is not None:
            attributes["error.type"] = failed
        self.span.set_attributes(attributes)
        if failed is not None:
            from opentelemetry.trace import Status, StatusCode

            self.span.set_status(Status(StatusCode.ERROR, failed))
        self.span.end()

    def _tell_beside(self, beside: list[tuple[str | None, Usage]]) -> None:
        """What other models were asked on the way has prices of its own: a call for each.

        It stands beside this one: a call within a call is taken for a piece of it.
        """
        from opentelemetry import context, trace

        asked, answer = self.asked, self.answer
        others = [(model, usage) for model, usage in beside if model is not None]
        served = {name: value for name, value in (answer.extra or {}).items() if ".response." in name}
        above = getattr(self.span, "parent", None)
        within = trace.NonRecordingSpan(above) if above is not None else trace.INVALID_SPAN
        token = context.attach(trace.set_span_in_context(within, self.context))
        try:
            for number, (model, usage) in enumerate(others, start=1):
                one = Asked(
                    operation=asked.operation, provider=asked.provider, model=model, address=asked.address, port=asked.port
                )  # fmt: skip
                call = Call(self.tracing, one, self.names, None, None)
                call.answer.id = f"{answer.id}/{number}" if answer.id else None
                call.answer.model, call.answer.usage, call.answer.extra = model, usage, served
                call.answer.finished = True
                call.end()
        finally:
            context.detach(token)

    def _estimate(self, attributes: dict[str, Any]) -> None:
        """The provider said nothing, or not all, because it was not asked to or the application left: marked as a guess."""
        from spanledger.instrumentation import estimate

        answer, told = self.answer, self.answer.usage or Usage()
        heard = estimate.answer_tokens(answer.pieces, answer.characters)
        asked_for = estimate.input_tokens(self.asked.body) if told.input is None else told.input
        if asked_for is None or (told.input is not None and heard <= (told.output or 0)):
            return
        answer.usage = replace(told, input=asked_for, output=max(heard, told.output or 0))
        attributes["spanledger.tokens.estimated"] = True


def end_open_calls() -> None:
    """End what is still open, with what is known: the interpreter exits."""
    for call in list(open_calls):
        call.end()


def forget_open_calls() -> None:
    """A child process does not end its parent's calls."""
    open_calls.clear()
