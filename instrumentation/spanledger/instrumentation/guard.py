"""Asks before a call whether it may go ahead, and carries the hold that a passed check leaves."""

import asyncio
import logging
import os
import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPException
from time import monotonic, sleep
from typing import Any
from weakref import WeakValueDictionary

from spanledger.instrumentation.answer import Asked
from spanledger.instrumentation.attribution import DIMENSIONS
from spanledger.instrumentation.breaker import Breaker
from spanledger.instrumentation.check_client import CheckClient, Courier
from spanledger.instrumentation.errors import LimitExceeded
from spanledger.instrumentation.estimate import input_tokens
from spanledger.instrumentation.lease import Lease
from spanledger.instrumentation.settings import Settings
from spanledger.instrumentation.usage import Usage

logger = logging.getLogger("spanledger.instrumentation")

#: A check asks for the most a call may take. The estimate is for one tokenizer; Claude's counts up to 1.36 times as much.
MARGIN = 1.4
#: How long a call may take before the hold it took from the lease is given up.
CALL_SECONDS = 600
#: A hold is extended once so much of its lease is over; looked for so often.
EXTENDED_AFTER_SECONDS = 240.0
EXTENDS_EVERY_SECONDS = 60.0
#: Tokens asked for where a request cannot be looked at.
UNKNOWN = 4_000
#: The ledger keeps no more characters of a name, and the check API takes not many more.
LONGEST_NAME = 512
#: How the type of an answer ends that refuses the call; any other 429 is about how often the API is asked.
REFUSALS = ("/limit-reached", "/paused")
#: Answers of an API that is there: it does not take this question, or is asked too often.
OF_THE_QUESTION = (400, 403, 413, 422, 429)
FIRST_WAIT_SECONDS = 0.01
#: Tiers that cost more; the other ones are asked for as if they were the usual one.
DEAR_TIERS = ("priority", "fast")

CLOSED = {
    "type": "about:blank",
    "title": "Check not possible",
    "status": 503,
    "detail": "the check API could not be asked, and SPANLEDGER_GUARD_FAIL=closed refuses calls it has not allowed",
    "limit": None,
}


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Hold:
    """What a passed check set aside for a call, which keeps it until it ends."""

    id: str
    taken_at: float = field(default_factory=monotonic, compare=False)


class Guard:
    """One per process. `check` may raise LimitExceeded; everything else that goes wrong lets the call go on, or
    refuses it when the guard fails closed."""

    def __init__(self, settings: Settings) -> None:
        self._closed = settings.guard_closed
        self._seconds = settings.guard_timeout_ms / 1000
        self._client = CheckClient(settings.api, settings.api_key, self._seconds)
        #: Holds of calls that run. Whatever lets go of a call without ending it lets its lease run out.
        self._running: WeakValueDictionary[str, Hold] = WeakValueDictionary()
        self._courier = Courier(self._client, self._extend_leases, lambda: len(self._running) > 0, EXTENDS_EVERY_SECONDS)
        self._breaker = Breaker()
        self._pool: ThreadPoolExecutor | None = None
        self._lease = Lease(settings.guard_lease, self._ask, self._courier.do) if settings.guard_lease else None
        self._constant = {"service": settings.service or None, "environment": _environment()}

    def check(self, asked: Asked, names: Mapping[str, str]) -> Hold | None:
        """Ask and wait for the answer, at most the time-out."""
        question = self._question(asked, names)
        ahead, hold = self._take(question)
        if ahead:
            return hold
        if not self._breaker.allows():
            return self._away()
        return self._decide(self._asked(question))

    async def check_async(self, asked: Asked, names: Mapping[str, str]) -> Hold | None:
        """The same without blocking the event loop."""
        question = self._question(asked, names)
        ahead, hold = self._take(question)
        if ahead:
            return hold
        if not self._breaker.allows():
            return self._away()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return self._decide(await _in_trio(self._asked, question))
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="spanledger guard")
        waiting = self._pool.submit(self._asked, question)
        try:
            answer = await asyncio.wait_for(asyncio.wrap_future(waiting, loop=loop), self._seconds * 2)
        except TimeoutError:
            # The threads are busy: the check is given up, and so is a hold that it may still bring.
            waiting.add_done_callback(self._give_back)
            answer = None
        except asyncio.CancelledError:
            waiting.add_done_callback(self._give_back)
            raise
        return self._decide(answer)

    def finish(self, hold: Hold, usage: Usage | None, *, failed: bool) -> None:
        """The call has ended: shrink the hold to what was used when that is known, to nothing but a request when it failed.

        The span that arrives later settles it for good. A failed call keeps its request: were its hold let go, calls that
        fail faster than their spans are posted would pass a limit on requests.
        """
        self._running.pop(hold.id, None)
        used: dict[str, object] | None = None
        if usage is not None and usage.input is not None:
            used = {"input_tokens": usage.input, "output_tokens": usage.output or 0}
        elif failed:
            used = {"input_tokens": 0, "output_tokens": 0, "cost_usd": "0"}
        if used is not None:
            self._courier.send("POST", f"/api/holds/{hold.id}/settle", used)

    def flush(self, seconds: float = 1.0) -> None:
        """Deliver what is still to be told about holds, within this time."""
        self._courier.finish(seconds)

    def close(self, seconds: float = 1.0) -> None:
        """The same, and give back what was fetched ahead."""
        for hold in self._lease.rest() if self._lease is not None else ():
            self._courier.send("DELETE", f"/api/holds/{hold}")
        self._courier.close(seconds)
        self._client.close()
        if self._pool is not None:
            self._pool.shutdown(wait=False)

    def forget(self) -> None:
        """In a child process: the parent's calls are the parent's."""
        self._running.clear()
        self._client.forget()
        self._courier.forget()
        if self._lease is not None:
            self._lease.forget()
        self._breaker = Breaker()
        self._pool = None

    def _take(self, question: Mapping[str, Any]) -> tuple[bool, Hold | None]:
        if self._lease is None:
            return False, None
        ahead, hold = self._lease.take(question)
        if hold is None:
            return ahead, None
        self._keep(hold)
        return True, self._held(hold)

    def _keep(self, hold_id: str) -> None:
        """The call may take longer than what is left of a lease that was fetched ahead."""
        self._courier.send("POST", f"/api/holds/{hold_id}/extend", {"lease_seconds": CALL_SECONDS})

    def _question(self, asked: Asked, names: Mapping[str, str]) -> dict[str, Any]:
        question: dict[str, Any] = {name: value for name, value in self._constant.items() if value}
        tags = {}
        for name, value in names.items():
            # Baggage comes from anywhere: what is neither a dimension nor a tag must not become another field of the check.
            if name.startswith("tag."):
                tags[name[4:][:LONGEST_NAME]] = value[:LONGEST_NAME]
            elif name in DIMENSIONS:
                question[name] = value[:LONGEST_NAME]
        question |= {
            "operation": asked.operation.name,
            "provider": asked.provider,
            "model": asked.model[:LONGEST_NAME] if asked.model else None,
            "trace": _trace(),
            "input_tokens": round(MARGIN * (input_tokens(asked.body) or UNKNOWN)),
        }
        if asked.max_output_tokens is not None:
            question["max_output_tokens"] = asked.max_output_tokens
        if tier := _dear_tier(asked.body):
            question["service_tier"] = tier
        if tags:
            question["tags"] = tags
        return question

    def _asked(self, question: Mapping[str, Any]) -> tuple[int, Any] | None:
        """The answer to a call that waits; one that is refused while holds are being fetched ahead takes one of these."""
        answer = self._ask(question, until=monotonic() + self._seconds)
        if self._lease is None or answer is None or answer[0] != 429:
            return answer
        hold = self._lease.wait(question, self._seconds)
        if hold is None:
            return answer
        self._keep(hold)
        return 200, {"hold_id": hold}

    def _ask(self, question: Mapping[str, Any], until: float | None = None) -> tuple[int, Any] | None:
        """None when the API is away, does not answer as one, or does not answer this question.

        One that is asked too often is asked again `until` then. What it says of one question is no reason not to ask the next.
        """
        wait, seconds = FIRST_WAIT_SECONDS, self._seconds
        while True:
            try:
                status, document = self._client.request("POST", "/api/checks", question, timeout_seconds=seconds)
            except (OSError, HTTPException) as error:
                self._breaker.failed()
                _tell_once("the check API does not answer (%s); calls go as SPANLEDGER_GUARD_FAIL says", type(error).__name__)
                return None
            if isinstance(document, dict) and (status == 200 or (status == 429 and _refuses(document))):
                self._breaker.succeeded()
                if self._lease is not None and isinstance(looked_at := document.get("dimensions"), list):
                    self._lease.dimensions = frozenset(looked_at)
                return status, document
            if status != 429 or until is None or monotonic() + wait >= until:
                break
            sleep(wait)
            wait, seconds = 2 * wait, max(0.001, until - monotonic())
        if status in OF_THE_QUESTION:
            self._breaker.succeeded()
        else:
            self._breaker.failed()
        _tell_once("the check API answered a check with status %s; calls go as SPANLEDGER_GUARD_FAIL says", status)
        return None

    def _decide(self, answer: tuple[int, Any] | None) -> Hold | None:
        if answer is None:
            return self._away()
        status, document = answer
        if status == 429:
            raise LimitExceeded(document)
        hold = document.get("hold_id")
        return self._held(hold) if isinstance(hold, str) and hold else None

    def _held(self, hold_id: str) -> Hold:
        hold = self._running[hold_id] = Hold(hold_id)
        self._courier.start()
        return hold

    def _extend_leases(self) -> None:
        """Lengthen the leases of calls that take long, also of those that stream nothing."""
        for one in self._running.valuerefs():
            hold = one()
            if hold is not None and monotonic() - hold.taken_at >= EXTENDED_AFTER_SECONDS:
                self._client.request("POST", f"/api/holds/{hold.id}/extend", {"lease_seconds": CALL_SECONDS}, timeout_seconds=2.0)

    def _away(self) -> Hold | None:
        if self._closed:
            raise LimitExceeded(CLOSED)
        return None

    def _give_back(self, waiting: Any) -> None:
        answer = None if waiting.cancelled() or waiting.exception() else waiting.result()
        if answer is not None and answer[0] == 200 and answer[1].get("hold_id"):
            self._courier.send("DELETE", f"/api/holds/{answer[1]['hold_id']}")


def _refuses(document: Mapping[str, Any]) -> bool:
    """Whether a 429 is a limit's or a pause's word on the call."""
    return str(document.get("type", "")).endswith(REFUSALS)


async def _in_trio(ask: Any, question: Any) -> Any:
    # An event loop that is not asyncio's: the clients that run there bring anyio.
    from anyio import to_thread

    return await to_thread.run_sync(ask, question)


def _dear_tier(body: Any) -> str | None:
    """The tier that a request asks for, where that costs more than the usual one: whether a cheaper one is given is not sure."""
    if not isinstance(body, Mapping):
        return None
    bedrock = body.get("serviceTier")
    asked = body.get("service_tier") or (bedrock.get("type") if isinstance(bedrock, Mapping) else bedrock) or body.get("speed")
    return asked if asked in DEAR_TIERS else None


def _trace() -> str:
    """The trace that the call's span will be in; a call outside of any begins one of its own, which nobody knows yet."""
    from opentelemetry.trace import get_current_span

    context = get_current_span().get_span_context()
    return format(context.trace_id, "032x") if context.is_valid else secrets.token_hex(16)


def _environment() -> str | None:
    for pair in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        name, _, value = pair.partition("=")
        if name.strip() in ("deployment.environment.name", "deployment.environment") and value.strip():
            return value.strip()
    return None


_told: set[str] = set()


def _tell_once(message: str, value: object) -> None:
    if message not in _told:
        _told.add(message)
        logger.warning(message, value)
