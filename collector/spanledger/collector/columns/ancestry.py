"""Who stands above whom in a trace, as arrays: every walk moves all records one step up at a time."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spanledger.collector.columns.keys import distinct, first_places

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Keys = npt.NDArray[np.uint64]

#: No honest trace is deeper between a call and its root; a cycle of parents ends here.
DEEPEST = 64
#: The flag of a record that stands above itself.
PARENTS_CYCLE = "parents_cycle"


@dataclass(slots=True)
class Ancestry:
    """`parent[i]` is the row of i's parent, -1 for none or one that is not known; `dangling[i]`: it is named but not known."""

    parent: Ints
    dangling: Flags

    @classmethod
    def of(cls, span_key: Keys, parent_key: Keys) -> "Ancestry":
        """From a key for each record's own span and for the span it stands below; 0 is none."""
        rows = len(span_key)
        spans = np.flatnonzero(span_key)
        place = first_places(parent_key, span_key[spans])
        known = place >= 0
        parent = np.full(rows, -1, dtype=np.int64)
        parent[known] = spans[place[known]]
        parent[parent == np.arange(rows)] = -1
        return cls(parent, (parent_key != 0) & ~known)

    @classmethod
    def none(cls, rows: int) -> "Ancestry":
        """Nobody stands above anybody."""
        return cls(np.full(rows, -1, dtype=np.int64), np.zeros(rows, dtype=bool))

    def spread(self, place: Ints, rows: int) -> "Ancestry":
        """The same among more rows, of which these are at those places."""
        wide = Ancestry.none(rows)
        wide.parent[place] = np.where(self.parent >= 0, place[self.parent], -1)
        wide.dangling[place] = self.dangling
        return wide

    def up(self, at: Ints) -> Ints:
        """One step up from each; -1 stays -1."""
        return np.where(at >= 0, self.parent[at], -1)

    def nearest(self, start: Ints, wanted: Flags, stop: Flags) -> Ints:
        """For each row, the nearest row above it that is wanted, before any at which to stop; -1 if there is none."""
        found = np.full(len(start), -1, dtype=np.int64)
        at = self.up(start)
        live = np.flatnonzero(at >= 0)
        at = at[live]
        for _ in range(DEEPEST):
            if not len(live):
                break
            hit = wanted[at]
            found[live[hit]] = at[hit]
            above = self.parent[at]
            on = ~hit & ~stop[at] & (above >= 0)
            live, at = live[on], above[on]
        return found

    def mark_above(self, start: Ints, rows: int) -> Flags:
        """Every row that stands above one of these."""
        marked = np.zeros(rows, dtype=bool)
        at = distinct(self.up(start))
        while True:  # what is marked is not walked again
            at = at[at >= 0]
            at = at[~marked[at]]
            if not len(at):
                break
            marked[at] = True
            at = distinct(self.parent[at])
        return marked

    def dangles(self, start: Ints) -> Flags:
        """Whether the walk from each row ends at a parent that is named but not known."""
        end = start.copy()
        live = np.arange(len(start))
        for _ in range(DEEPEST):
            above = self.parent[end[live]]
            live, above = live[above >= 0], above[above >= 0]
            if not len(live):
                break
            end[live] = above
        return self.dangling[end]

    def looped(self) -> Ints:
        """The rows that stand above themselves."""
        above = self.parent
        # Twice as far each time; after as many steps as there are rows whoever still stands above anybody is in a cycle.
        for _ in range(len(above).bit_length()):
            if not (above >= 0).any():
                break
            above = np.where(above >= 0, above[above], -1)
        return distinct(above[above >= 0])

    def depth(self, start: Ints) -> Ints:
        """How many rows stand above each."""
        depth = np.zeros(len(start), dtype=np.int64)
        live, at = np.arange(len(start)), start
        for _ in range(DEEPEST):
            above = self.parent[at]
            live, at = live[above >= 0], above[above >= 0]
            if not len(live):
                break
            depth[live] += 1
        return depth

    def inherited(self, start: Ints, has: Flags) -> Ints:
        """The row itself if it has a value, else the nearest one above that has; -1 if none."""
        own = np.where(has[start], start, -1)
        nowhere = np.zeros_like(has)
        return np.where(own >= 0, own, self.nearest(start, has, nowhere))
