"""What falls due by the clock is posted by the collector itself, once, however often it starts."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from spanledger.collector.pricing import PriceDesk, PriceTimer, open_prices
from spanledger.collector.pricing.rerate import Range
from spanledger.control import Control
from spanledger.ledger.connect import connect
from tests.api.running import running
from tests.prices.desks import NOW, desk_at

ALL = Range(since=datetime(2020, 1, 1, tzinfo=UTC), until=datetime(2030, 1, 1, tzinfo=UTC))
POSTED = "select count(*), count(distinct entry_id), sum(cost_usd) from entries where starts_with(rule, 'monthly:')"


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, "it did not come to be"
        time.sleep(0.05)


def test_fixed_costs_are_posted_at_start_and_once_over_restarts(tmp_path: Path) -> None:
    begins = (datetime.now(UTC) - timedelta(days=3)).date()
    days = [begins + timedelta(days=n) for n in range(5)]

    def posted() -> tuple[int, int, Decimal]:
        with connect(tmp_path) as connection:
            return connection.execute(POSTED).fetchone()  # type: ignore[return-value]

    limits = [{"name": "all", "measure": "cost_usd", "amount": "1000", "window": "lifetime"}]
    with running(tmp_path, limits) as first:
        form = {"monthly_usd": "310", "valid_from": f"{begins}T00:00:00Z", "provider": "azure", "note": "seats"}
        first.collector.price_desk.make([form], who="me")
    for _ in range(2):
        with running(tmp_path, limits) as again:
            until(lambda: posted()[0] >= 4)
            assert again.collector.price_desk.post_monthly() in (0, 1)  # one more, should a day begin just now
            count, ids, total = posted()
            assert count == ids
            assert count in (4, 5)
            until(lambda: Decimal(again.get("/api/limits")["limits"][0]["used"]) == total)  # noqa: B023
            with connect(tmp_path) as connection:
                found = connection.execute("select day from entries where starts_with(rule, 'monthly:') order by day").fetchall()
            assert [day for (day,) in found] == days[:count]


def test_an_hour_that_begins_is_noticed_and_a_failure_is_tried_again(tmp_path: Path) -> None:
    with desk_at(tmp_path) as at:
        at.desk.make([{"monthly_usd": "300", "valid_from": "2026-11-22T00:00:00Z", "note": "seats"}], who="me")
        now, post, failed = [NOW], at.desk._post, []
        at.desk._clock = lambda: now[0]

        def fails(entries: object) -> None:
            failed.append(entries)
            raise OSError("the disk is full")

        at.desk._post = fails
        timer = PriceTimer(at.desk, clock=lambda: now[0], tick_seconds=0.01)
        timer.start()
        until(lambda: len(failed) == 1)
        at.desk._post = post
        assert at.sql(POSTED)[0][0] == 0
        now[0] += timedelta(hours=1)
        until(lambda: at.sql(POSTED)[0][0] == 1)
        now[0] += timedelta(days=2)
        until(lambda: at.sql(POSTED)[0][0] == 3)
        timer.stop()
        assert at.sql(POSTED) == [(3, 3, Decimal(30))]


def test_a_timer_takes_back_what_adjustments_left_of_a_call_that_was_none(tmp_path: Path) -> None:
    with desk_at(tmp_path) as at:
        at.post([{"model": "house-llm"}, {}])
        at.desk.make([{"model": "house-llm", "provider": "*", "rates": {"input_mtok": "1", "output_mtok": "2"}}], who="me")
        at.desk.rerate(ALL, who="me", note="x", post=True)
        at.reverse(0)
        timer = PriceTimer(at.desk, clock=lambda: NOW, tick_seconds=0.01)
        timer.start()
        until(lambda: at.total() == Decimal("0.0035"))
        timer.stop()
        assert at.desk.take_back().changed == 0
        assert at.sql("select sum(calls) from entries group by cost_state order by all") == [(0,), (1,)]


LITELLM = (Path(__file__).parent / "books" / "litellm.json").read_bytes()


def test_what_one_collector_changes_of_prices_is_in_force_at_the_others_and_over_their_restart(tmp_path: Path) -> None:
    """Each has a folder of its own; they share the control database."""
    folders = [tmp_path / name for name in ("one", "two")]
    control = Control.open(tmp_path / "control.sqlite")
    one, two = (
        PriceDesk(control, folder, open_prices(control, folder), read=lambda: connect(tmp_path), post=lambda _: None)
        for folder in folders
    )
    timer = PriceTimer(two, clock=lambda: NOW, tick_seconds=0.01)
    timer.start()
    one.make([{"provider": "house", "model": "llm", "rates": {"input_mtok": "7"}}], who="me")
    until(lambda: two.prices.cost_of("house", "llm", NOW, 1_000_000, 0).cost_usd == Decimal(7))
    one.load_book(LITELLM, "1.109.1", accept=True, who="me")
    until(lambda: two.prices.revision == one.prices.revision)
    [rule] = one.rules.in_force()
    two.change(rule["id"], {"rates": {"input_mtok": "8"}}, who="me", why="dearer")
    assert one.follow()
    assert not one.follow()
    assert one.prices.cost_of("house", "llm", NOW, 1_000_000, 0).cost_usd == Decimal(8)
    timer.stop()
    assert [len(list((folder / "price-books").glob("litellm*"))) for folder in folders] == [1, 0]
    assert open_prices(control, folders[1]).revision == one.prices.revision
    control.close()
