"""Counters in memory and in Redis do what a simple reference model does, whatever happens in whichever order."""

from collections.abc import Callable, Collection, Generator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from spanledger.limits import Check
from spanledger.limits.counters import redis_anew
from spanledger.limits.counters.counters import Amount, Counters, CountersAway, Demand, Part, Place, Posting, Reading
from spanledger.limits.counters.memory import MemoryCounters
from spanledger.limits.counters.shared import SharedCounters
from spanledger.limits.window import FOREVER, SECOND
from tests.limits.redis_server import RedisServer

BEGIN = 1_790_000_000 * SECOND
PLACES = (
    Place("day", (), BEGIN, BEGIN + 86_400 * SECOND),
    Place("day", ("u",), BEGIN, BEGIN + 86_400 * SECOND),
    Place("life", (None, "ü:{}"), 0, FOREVER),
    Place("roll", (), 0, FOREVER, SECOND, 10 * SECOND),
    Place("slow", ("v",), 0, FOREVER, 7 * SECOND, 60 * SECOND),
)


class Model:
    """Every hold and every amount, in lists; nothing is ever summed up ahead of time."""

    def __init__(self) -> None:
        self.used: list[tuple[Place, int, int]] = []
        self.holds: dict[str, tuple[int, int, bool, list[tuple[Place, int, int]]]] = {}
        self.known: set[str] = set()
        self.leaked = 0

    def expire(self, now: int) -> None:
        for hold_id, (made, until, settled, parts) in list(self.holds.items()):
            if until <= now:
                del self.holds[hold_id]
                self.leaked += not settled
                if settled:
                    for place, size, _ in parts:
                        self.use(place, made, size, now)

    def use(self, place: Place, at: int, units: int, now: int) -> None:
        if not place.width or at // place.width >= (now - place.length) // place.width:
            self.used.append((place, at, units))

    def read(self, place: Place, now: int) -> tuple[int, int, int]:
        used = sum(
            units for p, at, units in self.used
            if p == place and (not p.width or at // p.width >= (now - p.length) // p.width)
        )  # fmt: skip
        parts = [part for _, _, _, found in self.holds.values() for part in found if part[0] == place]
        return used, sum(size for _, size, _ in parts), sum(worst for _, _, worst in parts)


units = st.integers(0, 10**20) | st.integers(0, 50)
signed = st.integers(-(10**20), 10**20) | units
demand = st.tuples(st.sampled_from(PLACES), units, units, units, units, st.booleans())
step = st.one_of(
    st.tuples(st.just("hold"), st.lists(demand, max_size=3, unique_by=lambda d: d[0]), st.integers(1, 40), st.booleans()),
    st.tuples(
        st.just("post"), st.integers(0, 5), st.sampled_from(PLACES), st.integers(-70, 3), st.integers(-(10**20), 10**20) | units
    ),
    st.tuples(st.just("settle"), st.integers(0, 5), units, st.integers(1, 40)),
    st.tuples(st.just("release"), st.integers(0, 5)),
    st.tuples(st.just("extend"), st.integers(0, 5), st.integers(1, 40)),
    st.tuples(st.just("pass"), st.integers(1, 30)),
    st.tuples(st.just("again"), st.integers(0, 5)),
)


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"), keeps=False)
    yield server
    server.kill()


def fresh(kind: str, request: pytest.FixtureRequest, now: Callable[[], int]) -> Counters:
    if kind == "memory":
        return MemoryCounters()
    shared = SharedCounters(request.getfixturevalue("redis_server").url, namespace=uuid4().hex, now=now)
    assert shared.begin_counting(10)
    shared.end_counting([])
    return shared


class Counted:
    """A ledger that had these entries when it was counted."""

    def __init__(self, known: Collection[str] = ()) -> None:
        self._known = set(known)

    def seen(self, entry_ids: Sequence[str]) -> Collection[str]:
        return self._known.intersection(entry_ids)

    def newest(self) -> Sequence[str]:
        return sorted(self._known)


@pytest.mark.parametrize("kind", ["memory", "redis"])
@given(steps=st.lists(step, max_size=25))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_counters_do_what_the_model_does(kind: str, request: pytest.FixtureRequest, steps: list[Any]) -> None:
    now = BEGIN + 1000 * SECOND
    counters, model = fresh(kind, request, lambda: now), Model()
    ids: list[str] = []
    posted: list[Posting] = []
    for name, *given_ in steps:
        if name != "pass":
            model.expire(now)
        if name == "hold":
            wanted, lease, dry = given_
            demands = [Demand(*d) for d in wanted]
            hold_id = None if dry else uuid4().hex
            found = counters.hold(now, demands, hold_id, now + lease * SECOND, Check(model="m", tags={"a": "b"}))
            passes = True
            for d, reading in zip(demands, found, strict=True):
                used, held, worst = model.read(d.place, now)
                fits = used + held + d.size <= d.cap and used + worst + d.worst <= d.bound
                assert reading == Reading(used, held, worst, fits)
                passes = passes and (fits or not d.refuses)
            if passes and hold_id and demands:
                ids.append(hold_id)
                model.holds[hold_id] = (now, now + lease * SECOND, False, [(d.place, d.size, d.worst) for d in demands])
        elif name == "post":
            which, place, ago, amount = given_
            hold_id = ids[which] if which < len(ids) else None
            at = now + ago * SECOND
            posting = Posting(uuid4().hex, hold_id, [Amount(place, at, amount)])
            counters.post([posting], now)
            posted.append(posting)
            model.use(place, at, amount, now)
            model.holds.pop(hold_id or "", None)
        elif name == "again" and kind == "redis" and given_[0] < len(posted):
            counters.post([posted[given_[0]]], now)
        elif name == "settle" and given_[0] < len(ids):
            which, amount, lease = given_
            hold_id = ids[which]
            was = model.holds.pop(hold_id, None)
            parts = tuple(Part(place, amount, amount) for place, _, _ in was[3]) if was else ()
            assert counters.settle(hold_id, parts, now + lease * SECOND) is (was is not None)
            if was:
                model.holds[hold_id] = (was[0], now + lease * SECOND, True, [tuple(part) for part in parts])
        elif name == "release" and given_[0] < len(ids):
            assert counters.release(ids[given_[0]]) is (model.holds.pop(ids[given_[0]], None) is not None)
        elif name == "extend" and given_[0] < len(ids):
            hold_id, was = ids[given_[0]], model.holds.get(ids[given_[0]])
            assert counters.extend(hold_id, now + given_[1] * SECOND) is (was is not None and not was[2])
            if was and not was[2]:
                model.holds[hold_id] = (was[0], now + given_[1] * SECOND, was[2], was[3])
        elif name == "pass":
            now += given_[0] * SECOND
            counters.expire(now)
            model.expire(now)
        for place in PLACES:
            [stands] = counters.read([place], now)
            assert (stands.used, stands.held, stands.worst) == model.read(place, now)
    assert counters.count(["day", "life", "roll", "slow"])[1] == len(model.holds)
    assert counters.leaked == model.leaked
    for hold_id, (made, until, settled, held_parts) in model.holds.items():
        hold = counters.find(hold_id)
        assert hold is not None
        assert (hold.made_at, hold.expires_at, hold.settled, [tuple(part) for part in hold.parts]) == (
            made,
            until,
            settled,
            held_parts,
        )
        assert hold.about.model == "m"
    counters.close()


@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_counting_anew_replaces_what_is_used_and_keeps_what_is_held(kind: str, request: pytest.FixtureRequest) -> None:
    now = BEGIN + 1000 * SECOND
    counters = fresh(kind, request, lambda: now)
    day, user, _, roll, _ = PLACES
    counters.post([Posting("a", None, [Amount(p, now, 5) for p in PLACES])], now)
    counters.hold(now, [Demand(day, 3, 3, 100, 100)], "h", now + SECOND, Check())
    counters.replace(["day"], [Amount(day, now, 7)], now, Counted())
    assert [(r.used, r.held, r.worst) for r in counters.read([day, user, roll], now)] == [(7, 3, 3), (0, 0, 0), (5, 0, 0)]
    counters.replace(["roll"], [Amount(roll, now - 2 * SECOND, 1), Amount(roll, now, 1)], now, Counted())
    assert [units for _, units in counters.slots(roll, now)] == [1, 1]
    keys, count = counters.keys("day", BEGIN, 10)
    assert (sorted(keys, key=len), count) == ([(), ("u",)], 2)
    counters.forget("day")
    assert counters.read([day], now) == [Reading(0, 0, 0, True)]
    assert counters.keys("day", BEGIN, 10) == ([], 0)
    counters.close()


def test_what_others_post_while_a_limit_is_counted_anew_counts_once(request: pytest.FixtureRequest) -> None:
    counters = fresh("redis", request, lambda: BEGIN)
    day, life = PLACES[0], PLACES[2]
    known = {"counted", "counted and late", "counted and not yet posted"}

    class AtLast(Counted):
        def newest(self) -> Sequence[str]:
            post("late", "counted and late")
            return super().newest()

    def post(*entry_ids: str) -> None:
        counters.post(
            [Posting(entry_id, None, [Amount(place, BEGIN, 5) for place in (day, life)]) for entry_id in entry_ids], BEGIN
        )

    counters.begin_count(["day"], BEGIN)
    post("counted", "meanwhile")
    counters.replace(["day"], [Amount(day, BEGIN, 15)], BEGIN, AtLast(known))
    assert [reading.used for reading in counters.read([day, life], BEGIN)] == [15 + 2 * 5, 4 * 5]
    post("counted and not yet posted", "after")
    assert [reading.used for reading in counters.read([day, life], BEGIN)] == [15 + 3 * 5, 6 * 5]
    counters.close()


def test_no_bucket_is_at_any_moment_without_what_is_used_while_many_are_counted_anew(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_anew, "STEP", 1)
    counters = fresh("redis", request, lambda: BEGIN)
    assert isinstance(counters, SharedCounters)
    places = [replace(PLACES[0], key=key) for key in (("a",), ("b\n",), (), ("c",))]
    in_ledger, steps = places[:2], 4
    moments: list[list[int]] = []
    run = counters._script.run

    def post(*names: str) -> None:
        amounts = [(f"{name} {place.key}", Amount(place, BEGIN, 1)) for name in names for place in places]
        counters.post([Posting(entry_id, None, [amount]) for entry_id, amount in amounts], BEGIN)

    def between(*words: Any) -> list[str]:
        if words[0] == "count_anew":
            post(f"new {len(moments)}", f"counted {len(moments)}")
            moments.append([reading.used for reading in counters.read(places, BEGIN)])
        return run(*words)

    counters.post([Posting("old", None, [Amount(place, BEGIN, 1000) for place in places])], BEGIN)
    counters.begin_count(["day"], BEGIN)
    post("noted")
    monkeypatch.setattr(counters._script, "run", between)
    known = {f"counted {step} {place.key}" for step in range(steps) for place in in_ledger}
    counters.replace(["day"], [Amount(place, BEGIN, 1000 + steps) for place in in_ledger], BEGIN, Counted(known))
    assert len(moments) == steps
    for step, readings in enumerate(moments):
        posted = 1 + 2 * (step + 1)
        assert all(used >= 1000 + posted for used in readings[:2])
        assert all(used >= posted for used in readings[2:])
    found = [reading.used for reading in counters.read(places, BEGIN)]
    assert found == [1000 + 1 + 2 * steps] * 2 + [1 + 2 * steps] * 2
    counters.close()


def test_redis_without_a_count_answers_nobody_until_it_has_one(tmp_path: Path, redis_server: RedisServer) -> None:
    shared = SharedCounters(redis_server.url, namespace=uuid4().hex)
    with pytest.raises(CountersAway, match="anew"):
        shared.read([PLACES[0]], BEGIN)
    assert shared.begin_counting(10)
    assert not shared.begin_counting(10)
    with pytest.raises(CountersAway, match="anew"):
        shared.hold(BEGIN, [Demand(PLACES[0], 1, 1, 1, 1)], "h", BEGIN, Check())
    shared.end_counting(["known"])
    shared.post([Posting("known", None, [Amount(PLACES[0], BEGIN, 5)])], BEGIN)
    assert shared.read([PLACES[0]], BEGIN)[0].used == 0
    shared.close()


def test_redis_names_no_window_any_more_of_which_no_bucket_lives(request: pytest.FixtureRequest) -> None:
    counters = fresh("redis", request, lambda: BEGIN)
    assert isinstance(counters, SharedCounters)
    hours = [
        Place("hour", (), start, start + 3_600 * SECOND) for start in range(BEGIN, BEGIN + 4 * 3_600 * SECOND, 3_600 * SECOND)
    ]

    def post(hour: Place) -> set[str]:
        counters.post([Posting(None, None, [Amount(hour, hour.start, 1)])], hour.start)
        named: set[str] = counters._script.do(lambda r: r.smembers(f"{counters._prefix}w:hour"))
        return named

    for hour in hours[:3]:
        named = post(hour)
    assert named == {str(hour.start) for hour in hours[:3]}
    over = [f"{counters._prefix}i:hour:{hour.start}" for hour in hours[:2]]
    counters._script.do(lambda r: r.delete(*over))
    assert post(hours[3]) == {str(hour.start) for hour in hours[2:]}
    counters.close()
