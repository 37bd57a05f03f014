"""A body that ends the process is not replayed for ever, and costs nobody else anything."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from polars.exceptions import PanicException

from spanledger.collector import steps
from spanledger.collector.decode.decode import Telemetry, decode
from spanledger.collector.journal.deaths import MOST_DEATHS, Deaths
from spanledger.collector.journal.journal import Journal
from spanledger.collector.journal.set_aside import retry, set_aside
from spanledger.collector.received import Received
from tests.collector.made import Running, calls, running, stored
from tests.collector.test_journal import MIB, append, body
from tests.collector.test_loop import collected


def journalled(data: Path, *bodies: bytes) -> None:
    """What a collector leaves that was killed before it could post anything."""
    journal = Journal(data / "journal.sqlite", limit_bytes=MIB)
    append(journal, *map(body, bodies))
    journal.close()


def failing(monkeypatch: pytest.MonkeyPatch, poison: bytes, fail: Callable[[], None]) -> list[int]:
    """Fail over one body; gives, as it grows, with how many bodies it was decoded."""
    with_it: list[int] = []

    def decoding(bodies: Sequence[Received], also: str = "", *, bounded: bool = False) -> Telemetry:
        if any(one.body == poison for one in bodies):
            with_it.append(len(bodies))
            fail()
        return decode(bodies, also, bounded=bounded)

    monkeypatch.setattr(steps, "decode", decoding)
    return with_it


def test_a_body_that_kills_the_process_natively_is_set_aside_after_some_starts_and_the_rest_is_stored(tmp_path: Path) -> None:
    good, (poison, _), more = calls(3), calls(prompt_bytes=99), calls(2)
    journalled(tmp_path, good[0], poison, more[0])
    for _ in range(MOST_DEATHS):
        with pytest.raises(AssertionError):
            Running(tmp_path, dies_over="x" * 99)
    with running(tmp_path, dies_over="x" * 99) as collector:
        assert "start number 3 to do so" in collector.log()
        assert sorted(stored(tmp_path)) == sorted(good[1] + more[1])
        [aside] = set_aside(tmp_path)
    assert (aside.received.sequence, aside.again) == (2, False)


def test_one_of_many_is_narrowed_down_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [calls() for _ in range(100)]
    poison, [poisoned] = made[70]
    journalled(tmp_path, *(one for one, _ in made))

    def out_of_memory() -> None:
        raise MemoryError

    with_it = failing(monkeypatch, poison, out_of_memory)
    for _ in range(MOST_DEATHS):
        with pytest.raises(MemoryError):
            collected(tmp_path)
    collected(tmp_path)
    assert with_it == [100, 7, 1]
    assert sorted(stored(tmp_path)) == sorted(span for _, [span] in made if span != poisoned)
    [aside] = set_aside(tmp_path)
    assert (aside.size, aside.again, "3 times" in aside.reason) == (len(poison), False, True)
    collected(tmp_path)  # it does not come back by itself
    assert (len(with_it), len(set_aside(tmp_path))) == (3, 1)
    monkeypatch.undo()
    retry(tmp_path)
    collected(tmp_path)
    assert len(stored(tmp_path)) == 100


def test_a_start_that_fails_without_dying_blames_no_body(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (poison, poisoned) = calls()
    journalled(tmp_path, poison)

    def full() -> None:
        raise OSError("the disk is full")

    with_it = failing(monkeypatch, poison, full)
    for _ in range(MOST_DEATHS + 2):
        with pytest.raises(OSError, match="full"):
            collected(tmp_path)
    assert with_it == [1] * (MOST_DEATHS + 2)
    monkeypatch.undo()
    collected(tmp_path)
    assert (stored(tmp_path), set_aside(tmp_path)) == (poisoned, [])


def test_a_start_that_is_told_to_end_blames_no_body_and_forgets_no_death(tmp_path: Path) -> None:
    journalled(tmp_path, *(calls()[0] for _ in range(40)))
    journal = Journal(tmp_path / "journal.sqlite", limit_bytes=MIB)

    def start(*, ends: bool) -> Deaths:
        deaths = Deaths(journal)
        deaths.__enter__()
        deaths.begun(0, 40, 40)
        if ends:
            deaths.leave()
            deaths.begun(0, 40, 40)  # by a thread that has not heard of it
        return deaths

    assert start(ends=True).most(0) > 40
    assert start(ends=False).most(0) > 40
    assert start(ends=True).most(0) == 3
    assert start(ends=True).most(0) == 3
    journal.close()


def test_a_panic_of_a_library_in_rust_ends_neither_a_start_nor_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, (poison, _), late = calls(3), calls(), calls(2)
    journalled(tmp_path, poison, good[0])

    def panic() -> None:
        raise PanicException("index out of bounds")

    failing(monkeypatch, poison, panic)
    collected(tmp_path, late[0], poison)
    assert sorted(stored(tmp_path)) == sorted(good[1] + late[1])
    assert [(one.again, "index out of bounds" in one.reason) for one in set_aside(tmp_path)] == [(True, True)] * 2
