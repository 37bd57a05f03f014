"""The loop: once and only once, whatever fails in the middle."""

import asyncio
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from spanledger.collector import loop, steps
from spanledger.collector.config import ConfigError, load
from spanledger.collector.decode.decode import Telemetry
from spanledger.collector.journal.set_aside import set_aside
from spanledger.collector.recognise import recognise
from spanledger.collector.service import Collector
from spanledger.ledger.connect import connect
from spanledger.ledger.frame import conform
from spanledger.ledger.table import LedgerError
from tests.collector.made import call_span, calls, stored
from tests.collector.test_journal import body


def collected(
    data: Path, *bodies: bytes, before: Callable[[Collector], None] = lambda collector: None, posted: bool = False
) -> Collector:
    """Run a collector over a folder, journal the bodies, stop it cleanly, if wanted only when all is posted."""

    async def run() -> Collector:
        collector = Collector(load(None, {}, data=data, grpc_port=0, http_port=0, api_port=0))
        await collector.start()
        before(collector)
        for one in bodies:
            await collector.journal.append(body(one))
        while posted and collector.loop.position < len(bodies):
            await asyncio.sleep(0.02)
        await collector.stop()
        return collector

    return asyncio.run(run())


def test_a_crash_between_the_post_and_the_journals_drop_doubles_nothing(tmp_path: Path) -> None:
    request, ids = calls(7)

    first = collected(tmp_path, request, before=never_drop)
    assert first.ledger.mark() == 1
    again = collected(tmp_path)
    assert again.loop.progress.bodies == 0
    assert sorted(stored(tmp_path)) == sorted(ids)


def test_a_body_over_which_our_code_fails_is_set_aside_alone_and_tried_again_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, poison, more = calls(3), calls(1), calls(2)
    real = recognise.recognise

    def failing(telemetry: Telemetry, *rest: Any) -> pl.DataFrame:
        evidence = real(telemetry, *rest)
        if "span_id" in evidence.columns and poison[1][0] in evidence["span_id"]:
            raise KeyError("a fault of ours")
        return evidence

    monkeypatch.setattr(steps, "recognise", failing)
    collected(tmp_path, good[0], poison[0], more[0])
    assert sorted(stored(tmp_path)) == sorted(good[1] + more[1])
    [kept] = set_aside(tmp_path)
    assert ("a fault of ours" in kept.reason, kept.again) == (True, True)
    monkeypatch.undo()
    collected(tmp_path)
    assert sorted(stored(tmp_path)) == sorted(good[1] + poison[1] + more[1])
    assert set_aside(tmp_path) == []


def test_a_ledger_that_cannot_be_written_is_tried_until_it_can_and_knew_of_nothing_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, ids = calls(4)
    failures = [LedgerError("disk full"), OSError("disk full")]
    failed: list[datetime] = []

    def fail_twice(collector: Collector) -> None:
        post = collector.ledger.post

        def failing(entries: pa.Table, mark: int | None) -> bool:
            if failures:
                failed.append(datetime.now(UTC))
                raise failures.pop()
            return post(entries, mark)

        collector.ledger.post = failing  # type: ignore[method-assign]
        monkeypatch.setattr(loop, "_RETRY_SECONDS", (0.0,))

    collected(tmp_path, request, before=fail_twice, posted=True)
    assert failures == []
    assert sorted(stored(tmp_path)) == sorted(ids)
    for moment in failed:
        with connect(tmp_path, as_known_on=moment) as connection:
            assert connection.execute("select count(*) from entries").fetchone() == (0,)


def test_what_was_counted_and_could_not_be_posted_is_counted_anew_even_if_that_fails_at_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, ids = calls(4)
    faults: list[str] = []

    def once(name: str, real: Callable[..., Any], *, after: bool = False) -> Callable[..., Any]:
        def failing(*given: Any, **named: Any) -> Any:
            if name in faults:
                return real(*given, **named)
            if after:
                real(*given, **named)
            faults.append(name)
            raise OSError(f"no more files for {name}")

        return failing

    def fail(collector: Collector) -> None:
        counter = collector.loop._count_once
        assert counter is not None
        monkeypatch.setattr(counter, "count", once("count", counter.count, after=True))
        monkeypatch.setattr(collector._steps, "fresh_count_once", once("anew", collector._steps.fresh_count_once))
        monkeypatch.setattr("spanledger.collector.loop.conform", once("conform", conform))

    collected(tmp_path, request, before=fail, posted=True)
    assert faults == ["count", "anew", "conform"]
    assert sorted(stored(tmp_path)) == sorted(ids)


def test_told_to_stop_while_it_waits_to_try_again_it_tries_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request, ids = calls(4)
    failures: list[LedgerError] = []

    def fail_once(collector: Collector) -> None:
        post = collector.ledger.post

        def failing(entries: pa.Table, mark: int | None) -> bool:
            if not failures:
                failures.append(LedgerError("disk full"))
                raise failures[0]
            return post(entries, mark)

        collector.ledger.post = failing  # type: ignore[method-assign]
        monkeypatch.setattr(loop, "_RETRY_SECONDS", (3600.0,))

    collected(tmp_path, request, before=fail_once)
    assert len(failures) == 1
    assert sorted(stored(tmp_path)) == sorted(ids)


def test_stopping_while_the_ledger_cannot_be_written_leaves_the_batch_to_the_next_start(tmp_path: Path) -> None:
    request, ids = calls(4)

    def always_fail(collector: Collector) -> None:
        def failing(entries: pa.Table, mark: int | None) -> bool:
            raise LedgerError("disk full")

        collector.ledger.post = failing  # type: ignore[method-assign]

    collected(tmp_path, request, before=always_fail)
    assert stored(tmp_path) == []
    collected(tmp_path)
    assert sorted(stored(tmp_path)) == sorted(ids)


def test_counters_that_fail_do_not_post_a_batch_twice(tmp_path: Path) -> None:
    request, ids = calls(4)

    def fail(collector: Collector) -> None:
        def failing(entries: pl.DataFrame) -> None:
            raise RuntimeError("a fault of ours")

        collector.limits.post = failing  # type: ignore[method-assign]

    collected(tmp_path, request, before=fail)
    assert sorted(stored(tmp_path)) == sorted(ids)


def test_a_counter_that_fails_after_the_commit_neither_stops_the_loop_nor_doubles_a_call(tmp_path: Path) -> None:
    request, ids = calls(4)
    more, others = calls(2)

    def fail(collector: Collector) -> None:
        def failing(mark: int, entries: pl.DataFrame | None = None) -> None:
            raise RuntimeError("a fault of ours")

        assert collector.loop._count_once is not None
        collector.loop._count_once.posted = failing  # type: ignore[method-assign]

    collector = collected(tmp_path, request, request, more, before=fail)
    assert collector.journal.bodies == 0
    assert sorted(stored(tmp_path)) == sorted(ids + others)


def test_a_ledger_that_lacks_what_was_posted_to_it_is_said_at_the_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    collected(tmp_path, calls(2)[0], calls(1)[0], posted=True)
    collected(tmp_path)
    assert "missing" not in caplog.text
    shutil.rmtree(tmp_path / "entries")
    collected(tmp_path)
    assert "entries are missing from the ledger" in caplog.text
    assert "ends at number 0 of the journal, and was posted to up to 2" in caplog.text


def test_a_ledger_in_which_a_file_became_unreadable_is_served_without_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    collected(tmp_path, calls(2)[0], posted=True)
    [path] = (tmp_path / "entries").glob("day=*/*.parquet")
    path.write_bytes(bytes(path.stat().st_size))
    request, ids = calls(1)
    collected(tmp_path, request)
    assert f"{path.name} with 2 entries" in caplog.text
    with connect(tmp_path, damaged="leave out") as connection:
        assert connection.execute("select list(span_id) from entries").fetchone() == (ids,)


def never_drop(collector: Collector) -> None:
    """As if it were killed between the post and the drop."""

    def drop(upto: int, *, reader: str = "ledger") -> None:
        return

    collector.journal.drop = drop  # type: ignore[method-assign]


@pytest.mark.parametrize("left", [None, b"\xff\x00"], ids=["lost", "damaged"])
def test_a_name_that_is_lost_is_known_from_the_journal_so_that_nothing_is_doubled_or_said_to_be_missing(
    tmp_path: Path, left: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    request, ids = calls(3)
    collected(tmp_path, request, before=never_drop)
    named = tmp_path / "journal.name"
    name = named.read_bytes()
    named.unlink()
    if left is not None:
        named.write_bytes(left)
    collected(tmp_path)
    assert sorted(stored(tmp_path)) == sorted(ids)
    assert named.read_bytes() == name
    assert "missing" not in caplog.text
    assert "journal.name was lost or damaged" in caplog.text


def test_a_journal_whose_name_is_anothers_or_damaged_in_both_places_is_refused(tmp_path: Path) -> None:
    collected(tmp_path, calls(1)[0])
    (tmp_path / "journal.name").write_text("0" * 32)
    with pytest.raises(ConfigError, match=r"journal\.name is not the name of the journal beside it"):
        collected(tmp_path)
    (tmp_path / "journal.name").write_bytes(b"\xff\x00")
    (tmp_path / "journal.sqlite").unlink()
    with pytest.raises(ConfigError, match=r"journal\.name is damaged"):
        collected(tmp_path)


def test_a_clock_that_jumps_loses_and_doubles_nothing(tmp_path: Path) -> None:
    batches = [calls(3) for _ in range(4)]
    jumps = iter([timedelta(0), timedelta(days=400), timedelta(days=-400), timedelta(hours=1)])

    async def run() -> None:
        collector = Collector(load(None, {}, data=tmp_path, grpc_port=0, http_port=0, api_port=0))
        await collector.start()
        for number, (request, _) in enumerate(batches, start=1):
            jump = next(jumps)
            collector.loop._clock = lambda jump=jump: datetime.now(UTC) + jump  # type: ignore[misc]
            await collector.journal.append(body(request))
            await collector.journal.append(body(request))  # and each is delivered twice
            while collector.loop.position < 2 * number:
                await asyncio.sleep(0.02)
        await collector.stop()

    asyncio.run(asyncio.wait_for(run(), 90))
    assert sorted(stored(tmp_path)) == sorted(one for _, ids in batches for one in ids)


def test_what_is_configured_about_attribution_and_cached_input_reaches_the_ledger(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "processors:\n"
        "  attribution: {tenant: [customer.id], tags: ['label\\.(.+)']}\n"
        "  recognise: {cached_input: [{scope: made-for-a-test, where: outside}]}\n"
    )
    request = ExportTraceServiceRequest()
    call_span(request, input_tokens=100)
    span = request.resource_spans[0].scope_spans[0].spans[0]
    span.attributes.add(key="customer.id").value.string_value = "acme"
    span.attributes.add(key="label.team").value.string_value = "red"
    span.attributes.add(key="gen_ai.usage.cache_read.input_tokens").value.int_value = 40

    async def run() -> None:
        collector = Collector(load(path, {}, data=tmp_path / "data", grpc_port=0, http_port=0, api_port=0))
        await collector.start()
        await collector.journal.append(body(request.SerializeToString()))
        await collector.stop()

    asyncio.run(run())
    with connect(tmp_path / "data") as connection:
        rows = connection.execute("select tenant, tags['team'], input_tokens, cache_read_tokens from calls").fetchall()
    assert rows == [("acme", "red", 140, 40)]
