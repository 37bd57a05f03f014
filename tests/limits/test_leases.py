"""Leases end in order, each once, exactly when they should, whatever is added, extended and taken away meanwhile."""

from hypothesis import given, settings
from hypothesis import strategies as st

from spanledger.limits.counters.leases import Leases
from spanledger.limits.window import SECOND

BEGIN = 1_790_000_000 * SECOND
micros = st.integers(-3 * SECOND, 5 * SECOND) | st.integers(0, 3).map(lambda n: n * SECOND)
step = st.one_of(
    st.tuples(st.just("add"), micros), st.tuples(st.just("take"), st.integers(0, 20)), st.tuples(st.just("pass"), micros)
)


@settings(deadline=None, max_examples=300)
@given(st.lists(step, max_size=40))
def test_a_lease_is_due_from_its_end_on_and_not_before(steps: list[tuple[str, int]]) -> None:
    leases, now, live = Leases(), BEGIN, dict[str, int]()
    for number, (name, value) in enumerate(steps):
        if name == "add":
            live[f"{number}"] = now + value
            leases.add(f"{number}", now + value)
        elif name == "take" and value < len(live):
            hold_id = list(live)[value]
            leases.remove(hold_id, live.pop(hold_id))
        else:
            now += abs(value)
        due = sorted((end, hold_id) for hold_id, end in live.items() if end <= now)
        assert not due or leases.first <= now
        assert sorted(leases.due(now)) == due
        for end, hold_id in due:
            leases.remove(hold_id, end)
            del live[hold_id]
    assert not leases.due(now)


def test_what_ended_otherwise_leaves_nothing_behind() -> None:
    leases = Leases()
    for number in range(1_000):
        leases.add(f"{number}", BEGIN + number * SECOND)
        leases.remove(f"{number}", BEGIN + number * SECOND)
    assert not leases._spans
    assert leases.due(BEGIN + 2_000 * SECOND) == []
    assert leases.first > BEGIN + 10_000 * SECOND
