"""Passed checks fetched ahead, so that a call is decided in microseconds: each is a hold of its own, for one call."""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

#: How long a hold that was fetched ahead is good for; one that is not taken in time is released by the API itself.
LEASE_SECONDS = 60
#: Taken only while this much of the lease is left.
_SPARE_SECONDS = 5.0
#: Where no limit covers a call there is nothing to hold: it passes without asking for this long.
_FREE_SECONDS = 5.0
#: Kinds of calls that holds are kept for at a time; the longest unused makes room.
_KINDS = 256

Question = Mapping[str, Any]
Fetch = Callable[[Question], tuple[int, Any] | None]
Do = Callable[[Callable[[], None]], None]


class Lease:
    """Keeps up to `calls` passed checks for each kind of call: same subject, model and size.

    `fetch` asks the API; `do` runs something in the background. A hold is for one call only, so that it settles as any
    other and a hard limit holds as it does without a lease; what is fetched ahead counts as held until it is used or expires.
    """

    def __init__(self, calls: int, fetch: Fetch, do: Do, clock: Callable[[], float] = monotonic) -> None:
        self._calls = calls
        self._fetch = fetch
        self._do = do
        self._clock = clock
        self._lock = threading.Condition()
        self._kinds: OrderedDict[tuple[Any, ...], _Kind] = OrderedDict()
        #: What limits look at, as the API said last; nothing is fetched ahead before that is known. Calls of different traces
        #: are of one kind unless some limit tells them apart.
        self.dimensions: frozenset[str] | None = None

    def take(self, question: Question) -> tuple[bool, str | None]:
        """Whether the call may go ahead by what was fetched, and the hold it takes (None where nothing is held).

        (False, None) says that the API must be asked.
        """
        sized = _rounded(question)
        key, now = self._key(sized), self._clock()
        with self._lock:
            kind = self._kinds.get(key)
            if kind is None:
                kind = self._kinds[key] = _Kind()
                if len(self._kinds) > _KINDS:
                    self._kinds.popitem(last=False)
            else:
                self._kinds.move_to_end(key)
            if kind.free_until > now:
                return True, None
            taken = kind.taken(now)
            # A kind that is seen for the first time may never come again: only the second call fetches ahead.
            known = self.dimensions is not None or "trace" not in question
            refill = kind.seen and known and not kind.refilling and len(kind.holds) <= self._calls // 2
            kind.seen = True
            kind.refilling = kind.refilling or refill
        if refill:
            self._do(lambda: self._refill(kind, sized))
        return taken is not None, taken

    def wait(self, question: Question, seconds: float) -> str | None:
        """A hold that is being fetched just now, for a call that was refused: what is fetched ahead may be all that was free."""
        with self._lock:
            kind = self._kinds.get(self._key(_rounded(question)))
            if kind is None:
                return None
            self._lock.wait_for(lambda: kind.holds or not kind.refilling, seconds)
            return kind.taken(self._clock())

    def _key(self, sized: Question) -> tuple[Any, ...]:
        apart = self.dimensions is not None and "trace" in self.dimensions
        return _hashable(sized if apart else {name: value for name, value in sized.items() if name != "trace"})

    def _refill(self, kind: "_Kind", question: Question) -> None:
        try:
            for _ in range(self._calls - len(kind.holds)):
                answer = self._fetch({**question, "lease_seconds": LEASE_SECONDS})
                if answer is None or answer[0] != 200:
                    return
                hold = answer[1].get("hold_id")
                if not hold:
                    kind.free_until = self._clock() + _FREE_SECONDS
                    return
                with self._lock:
                    kind.holds.append((hold, self._clock() + LEASE_SECONDS - _SPARE_SECONDS))
                    self._lock.notify_all()
        finally:
            with self._lock:
                kind.refilling = False
                self._lock.notify_all()

    def rest(self) -> list[str]:
        """Takes every hold that is left, for them to be released."""
        with self._lock:
            left = [hold for kind in self._kinds.values() for hold, _ in kind.holds]
            self._kinds.clear()
        return left

    def forget(self) -> None:
        """In a child process: the holds are its parent's."""
        self._lock = threading.Condition()
        self._kinds = OrderedDict()


class _Kind:
    __slots__ = ("free_until", "holds", "refilling", "seen")

    def __init__(self) -> None:
        self.holds: deque[tuple[str, float]] = deque()
        self.free_until = 0.0
        self.seen = False
        self.refilling = False

    def taken(self, now: float) -> str | None:
        """The oldest hold whose lease is not over."""
        while self.holds and self.holds[0][1] < now:
            self.holds.popleft()
        return self.holds.popleft()[0] if self.holds else None


def _rounded(question: Question) -> Question:
    """The input rounded up to a power of two, so that calls of about one size share their holds."""
    size = max(256, question.get("input_tokens") or 0)
    return {**question, "input_tokens": 1 << (size - 1).bit_length()}


def _hashable(question: Question) -> tuple[Any, ...]:
    return tuple(
        (name, tuple(sorted(value.items())) if isinstance(value, dict) else value) for name, value in sorted(question.items())
    )
