"""When holds end: what is due is found without looking at what is not, and what ended otherwise leaves nothing behind."""

from bisect import insort

#: Leases that end in the same second or so (2^20 µs) lie together, and are put in order when it has begun.
_SHIFT = 20
_NEVER = 1 << 62


class Leases:
    """The end of each hold's lease, in microseconds since 1970.

    Beside a heap it saves a tenth of a check, and the memory of holds that were settled long before their leases' end.
    """

    def __init__(self) -> None:
        self._spans: dict[int, dict[str, int]] = {}
        self._begun = -1  # the last span that was put in order
        self._ordered: list[tuple[int, str]] = []  # of it and of earlier ones; also what has ended otherwise meanwhile
        self._next = 0  # of those
        #: Nothing is due before it.
        self.first = _NEVER

    def add(self, hold_id: str, end: int) -> None:
        """A hold that has no lease (any more)."""
        span = end >> _SHIFT
        ends = self._spans.get(span)
        if ends is None:
            ends = self._spans[span] = {}
        ends[hold_id] = end
        if span <= self._begun:
            insort(self._ordered, (end, hold_id), lo=self._next)
        if end < self.first:
            self.first = end

    def remove(self, hold_id: str, end: int) -> None:
        """A hold whose lease ends at `end`, as it was added."""
        span = end >> _SHIFT
        ends = self._spans[span]
        del ends[hold_id]
        if not ends:
            del self._spans[span]

    def due(self, now: int) -> list[tuple[int, str]]:
        """(end, hold) of the leases that have ended, in order; all of them must be removed before anything else is asked."""
        found: list[tuple[int, str]] = []
        if now < self.first:
            return found
        while self._step(now):
            end, hold_id = one = self._ordered[self._next]
            self._next += 1
            if self._spans.get(end >> _SHIFT, {}).get(hold_id) == end:
                found.append(one)
        return found

    def _step(self, now: int) -> bool:
        """Whether the next in order is due."""
        while self._next == len(self._ordered):
            span = min((span for span in self._spans if span > self._begun), default=None)
            if span is None or span > now >> _SHIFT:
                self.first = _NEVER if span is None else span << _SHIFT
                return False
            self._begun, self._next = span, 0
            self._ordered = sorted((end, hold_id) for hold_id, end in self._spans[span].items())
        self.first = self._ordered[self._next][0]
        return self.first <= now
