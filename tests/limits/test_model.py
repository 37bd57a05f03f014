"""Limits as a whole beside a simple model: random limits, checks, settles, expiries and clocks, in memory and in Redis.

The model keeps every entry and every hold in lists and adds them up anew for each question; it shares nothing with the
counters but the definition of a window.
"""

import itertools
from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spanledger.ledger.connect import connect
from spanledger.ledger.table import Ledger
from spanledger.limits import Check, Limit, Limits
from spanledger.limits.window import FOREVER, SECOND, Calendar, Rolling, micros
from tests.limits.made import Clock, FlatPrice, control, entries, entry
from tests.limits.redis_server import RedisServer

#: Just before clocks change, or a month, quarter or year ends, in five zones.
BEGINS = [
    ("Europe/Berlin", "2026-10-25T00:30+00:00"),
    ("America/New_York", "2026-03-08T06:50+00:00"),
    ("Australia/Lord_Howe", "2026-04-04T14:40+00:00"),
    ("Asia/Kolkata", "2026-03-31T18:29:50+00:00"),
    ("America/Santiago", "2026-09-06T03:59+00:00"),
]
WINDOWS = [
    "rolling 1s", "rolling 30s", "rolling 10m", "rolling 2h", "rolling 3d", "lifetime",
    *({"kind": "calendar", "unit": unit} for unit in ("hour", "day", "week", "month", "quarter", "year")),
]  # fmt: skip
SUBJECTS = [{}, {"tenant": "a"}, {"tenant": "a", "user": "u"}, {"tenant": "ab", "user": "v"}, {"user": "u"}]

limit_fields = st.fixed_dictionaries(
    {
        "measure": st.sampled_from(["requests", "tokens", "input_tokens", "output_tokens", "cost_usd"]),
        "share": st.integers(0, 12),
        "window": st.sampled_from(WINDOWS),
        "per": st.sampled_from([[], ["tenant"], ["user"], ["tenant", "user"]]),
        "selectors": st.sampled_from([{}, {"tenant": "a"}, {"tenant": ["a*"]}, {"user": "*"}]),
        "hard": st.sampled_from([True, True, True, False]),
        "grace": st.sampled_from([0, 0, "0.5"]),
    }
)
size = st.tuples(st.integers(0, 100), st.integers(0, 100))
step = st.one_of(
    st.tuples(st.just("check"), st.sampled_from(SUBJECTS), size, st.sampled_from([5, 60, 600])),
    st.tuples(st.just("check"), st.sampled_from(SUBJECTS), size, st.sampled_from([5, 60, 600])),
    st.tuples(st.just("arrive"), st.integers(0, 9), size),
    st.tuples(st.just("unchecked"), st.sampled_from(SUBJECTS), size, st.integers(0, 7_000)),
    st.tuples(st.just("settle"), st.integers(0, 9), size),
    st.tuples(st.just("release"), st.integers(0, 9)),
    st.tuples(st.just("extend"), st.integers(0, 9), st.sampled_from([5, 600])),
    st.tuples(st.just("pass"), st.sampled_from([0.5, 3, 30, 600, 3_599, 7_200, 86_400, 9 * 86_400, 100 * 86_400])),
    st.tuples(st.just("pass to the end"), st.integers(0, 3), st.sampled_from([6, 4, 0.000001, 0])),
)

Place = tuple[str, tuple[str | None, ...], int]


@dataclass
class Held:
    made: int
    until: int
    about: Check
    parts: dict[Place, int]
    settled: bool = False
    #: Once settled, of a window that began after the check: it may turn out that the call began there.
    may_be: dict[Place, int] = field(default_factory=dict)


@dataclass
class Model:
    limits: list[Limit]
    used: list[tuple[Limit, tuple[str | None, ...], int, int]] = field(default_factory=list)
    holds: dict[str, Held] = field(default_factory=dict)
    leaked: int = 0

    def covering(self, subject: dict[str, Any]) -> list[tuple[Limit, tuple[str | None, ...]]]:
        def fits(patterns: tuple[str, ...], value: str | None) -> bool:
            return value is not None and any(p == value or (p[-1] == "*" and value.startswith(p[:-1])) for p in patterns)

        return [
            (limit, tuple(subject.get(name) for name in limit.per))
            for limit in self.limits
            if all(fits(patterns, subject.get(name)) for name, patterns in limit.selectors.items())
        ]

    def expire(self, now: int) -> None:
        for hold_id, held in list(self.holds.items()):
            if held.until <= now:
                del self.holds[hold_id]
                self.leaked += not held.settled
                for limit, key in self.covering(held.about.subject()) if held.settled else ():
                    self.used += [
                        (limit, key, held.made, units)
                        for (of, _, start), units in held.parts.items()
                        if of == limit.id and start <= held.made
                    ]

    def stands(self, limit: Limit, key: tuple[str | None, ...], now: int, *, at: int) -> tuple[int, int]:
        """(used, held) in the window of `at`."""
        window = limit.window
        if isinstance(window, Rolling):
            start, first, after = 0, (now - window.seconds * SECOND) // window.slot_us * window.slot_us, FOREVER
        else:
            start, after = window.span(at)
            first = start
        used = sum(units for of, whose, when, units in self.used if (of.id, whose) == (limit.id, key) and first <= when < after)
        return used, sum(held.parts.get((limit.id, key, start), 0) for held in self.holds.values())

    def check(self, about: Check, hold_id: str, now: int, until: int) -> str:
        """The verdict, by adding everything up."""
        parts: dict[Place, int] = {}
        refuses = warns = False
        for limit, key in self.covering(about.subject()):
            units = max(amount(limit, about.input_tokens or 0, about.max_output_tokens or 0), 1)
            windows = [now]
            if isinstance(limit.window, Calendar) and limit.window.span(now)[1] - now <= 5 * SECOND:
                windows.append(limit.window.span(now)[1])
            for at in windows:
                used, held = self.stands(limit, key, now, at=at)
                cap = int(limit.cap * (1 + limit.grace))
                place = limit.id, key, 0 if isinstance(limit.window, Rolling) else limit.window.span(at)[0]
                may_be = sum(one.may_be.get(place, 0) for one in self.holds.values())
                passes = used + held + may_be + units <= cap
                refuses = refuses or (limit.hard and not passes)
                warns = warns or (at == now and (not passes or used + held + units >= limit.cap * limit.thresholds[0]))
                parts[place] = units
        if not refuses and parts:
            self.holds[hold_id] = Held(now, until, about, parts)
        return "refuse" if refuses else "warn" if warns else "allow"

    def arrive(self, subject: dict[str, Any], hold_id: str | None, tokens: tuple[int, int], at: int) -> None:
        self.holds.pop(hold_id or "", None)
        self.used += [(limit, key, at, amount(limit, *tokens)) for limit, key in self.covering(subject)]

    def settle(self, hold_id: str, tokens: tuple[int, int], now: int, until: int) -> None:
        held = self.holds.get(hold_id)
        if held is not None:
            of = {limit.id: limit for limit in self.limits}
            said = {place: amount(of[place[0]], *tokens) for place in (*held.parts, *held.may_be)}
            parts = {place: units for place, units in said.items() if place[2] <= held.made}
            may_be = {place: units for place, units in said.items() if held.made < place[2] <= now}
            self.holds[hold_id] = Held(held.made, until, held.about, parts, settled=True, may_be=may_be)


def amount(limit: Limit, input_tokens: int, output_tokens: int) -> int:
    return {
        "requests": 1, "input_tokens": input_tokens, "output_tokens": output_tokens,
        "tokens": input_tokens + output_tokens, "cost_usd": output_tokens * 10**9,
    }[limit.measure]  # fmt: skip


@pytest.fixture(scope="module")
def of_kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Any]:
    """Makes limits over fresh counters of a kind."""
    folder = tmp_path_factory.mktemp("model")
    Ledger.open(folder / "entries")
    if request.param == "memory":
        yield lambda at, clock: Limits(control(at), FlatPrice(), clock=clock, folder=at)
        return
    (folder / "redis").mkdir()
    server = RedisServer(folder / "redis", keeps=False)

    def made(at: Path, clock: Clock) -> Limits:
        redis.Redis.from_url(server.url).flushall()
        limits = Limits(control(at), FlatPrice(), clock=clock, history=lambda: connect(folder), counters=server.url)
        with connect(folder) as connection:
            limits.rebuild(connection)
        return limits

    yield made
    server.kill()


histories = given(
    begin=st.sampled_from(BEGINS), wanted=st.lists(limit_fields, min_size=1, max_size=4), steps=st.lists(step, max_size=40)
)
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.mark.parametrize("of_kind", ["memory"], indirect=True)
@histories
@settings(max_examples=40, deadline=None, suppress_health_check=QUIET)
def test_limits_in_memory_do_what_the_model_does(
    of_kind: Any, begin: tuple[str, str], wanted: list[Any], steps: list[Any]
) -> None:
    run(of_kind, begin, wanted, steps)


@pytest.mark.parametrize("of_kind", ["redis"], indirect=True)
@histories
@settings(max_examples=8, deadline=None, suppress_health_check=QUIET)
def test_limits_in_redis_do_what_the_model_does(
    of_kind: Any, begin: tuple[str, str], wanted: list[Any], steps: list[Any]
) -> None:
    run(of_kind, begin, wanted, steps)


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("of_kind", ["memory", "redis"], indirect=True)
@histories
@settings(max_examples=400, deadline=None, suppress_health_check=QUIET)
def test_limits_do_what_the_model_does_four_hundred_times(
    of_kind: Any, begin: tuple[str, str], wanted: list[Any], steps: list[Any]
) -> None:
    run(of_kind, begin, wanted, steps)


def run(of_kind: Any, begin: tuple[str, str], wanted: list[Any], steps: list[Any]) -> None:
    clock = Clock(datetime.fromisoformat(begin[1]).astimezone(UTC))
    with TemporaryDirectory() as folder:
        of = of_kind(Path(folder), clock)
        try:
            of.configure([as_given(number, fields, begin[0]) for number, fields in enumerate(wanted)])
            act(of, Model(of.all()), clock, steps)
        finally:
            of.close()


def as_given(number: int, fields: dict[str, Any], zone: str) -> dict[str, Any]:
    given_ = {name: value for name, value in fields.items() if name != "share"}
    whole = Decimal({"requests": "1", "cost_usd": "0.05"}.get(fields["measure"], "50"))
    given_["amount"] = str(fields["share"] * whole)
    if isinstance(fields["window"], dict):
        given_["window"] = fields["window"] | {"zone": zone}
    return {**given_, "name": str(number), "thresholds": ["0.8"], "action": "refuse" if fields["hard"] else "warn"}


def act(of: Limits, model: Model, clock: Clock, steps: list[Any]) -> None:
    made: list[tuple[str, Check]] = []
    seen = {(limit.id, key) for subject in SUBJECTS for limit, key in model.covering(subject)}
    by_id = {limit.id: limit for limit in model.limits}
    honest = not any(name in ("unchecked", "settle", "pass", "pass to the end") for name, *_ in steps)
    for name, *given_ in steps:
        now = micros(clock())
        model.expire(now)
        which = made[given_[0]] if name in ("arrive", "settle", "release", "extend") and given_[0] < len(made) else None
        if name == "check":
            subject, (input_tokens, output_tokens), lease = given_
            about = Check(**subject, input_tokens=input_tokens, max_output_tokens=output_tokens, lease_seconds=lease)
            found = of.check(about)
            hold_id = found.hold_id or uuid4().hex
            assert found.verdict == model.check(about, hold_id, now, now + lease * SECOND)
            if found.hold_id:
                made.append((hold_id, about))
        elif name == "arrive" and which:
            tokens = given_[1]
            if honest:
                tokens = min(tokens[0], which[1].input_tokens or 0), min(tokens[1], which[1].max_output_tokens or 0)
            post(of, clock, which[1].subject(), tokens, hold_id=which[0])
            model.arrive(which[1].subject(), which[0], tokens, now)
            made.remove(which)
        elif name == "unchecked":
            subject, tokens, ago = given_
            at = datetime.fromtimestamp((now - ago * SECOND) / 1e6, UTC)
            post(of, clock, subject, tokens, occurred_at=at)
            model.arrive(subject, None, tokens, micros(at))
        elif name == "settle" and which:
            known = which[0] in model.holds
            assert of.settle(which[0], input_tokens=given_[1][0], output_tokens=given_[1][1]) is known
            model.settle(which[0], given_[1], now, now + 3_600 * SECOND)
        elif name == "release" and which:
            held = model.holds.get(which[0])
            assert of.release(which[0]) is (held is not None and not held.settled)
            if held is not None and not held.settled:
                del model.holds[which[0]]
        elif name == "extend" and which:
            held = model.holds.get(which[0])
            assert (of.extend(which[0], given_[1]) is not None) is (held is not None and not held.settled)
            if held is not None and not held.settled:
                held.until = now + given_[1] * SECOND
        elif name == "pass":
            clock.pass_(seconds=given_[0])
        elif name == "pass to the end":
            window = model.limits[given_[0] % len(model.limits)].window
            if isinstance(window, Calendar):
                left = window.span(now)[1] - now - int(given_[1] * SECOND)
                clock.pass_(microseconds=max(left, 0))
        now = micros(clock())
        of._counters.expire(now)
        model.expire(now)
        for limit_id, key in seen:
            limit = by_id[limit_id]
            [asked] = of.standing(limit, [key])
            assert (asked.reading.used, asked.reading.held) == model.stands(limit, key, now, at=now)
            if honest and limit.hard:
                assert asked.reading.used <= int(limit.cap * (1 + limit.grace))
    assert of.counts()["leaked"] == model.leaked


_numbers = itertools.count()


def post(of: Limits, clock: Clock, subject: dict[str, Any], tokens: tuple[int, int], **more: Any) -> None:
    whose = {name: subject.get(name) for name in ("tenant", "user")}
    cost = f"{tokens[1] / 1000:.3f}"
    of.post(entries(entry(clock, **whose, input_tokens=tokens[0], output_tokens=tokens[1], cost_usd=cost, **more)))
