"""What was acknowledged is in the ledger once, whatever ends the collector."""

import random
import threading
import time
from pathlib import Path

import httpx
import pytest

from spanledger.ledger.connect import connect
from tests.collector.made import Running, calls, eventually, running, stored


class Load:
    """Threads that send until told to stop, and remember what was acknowledged and what was sent."""

    def __init__(self, collector: Running) -> None:
        self.acknowledged: list[str] = []
        self.sent: list[str] = []
        self._url = f"{collector.http}/v1/traces"
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(4)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        with httpx.Client() as client:
            while not self._stopped.is_set():
                body, ids = calls(20)
                self.sent += ids
                try:
                    answer = client.post(self._url, content=body, headers={"Content-Type": "application/x-protobuf"})
                except httpx.HTTPError:
                    return
                if answer.status_code == 200:
                    self.acknowledged += ids

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()


def test_kill_9_in_the_middle_of_a_load_loses_and_doubles_nothing(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    sent: list[str] = []
    for _ in range(3):
        with running(tmp_path / "data") as collector:
            load = Load(collector)
            time.sleep(random.uniform(0.2, 1.2))
            collector.kill()
            load.stop()
        acknowledged += load.acknowledged
        sent += load.sent
    assert acknowledged
    with running(tmp_path / "data") as collector:
        found = stored(tmp_path / "data")  # replayed before it listens
        assert collector.stop() == 0
    assert len(found) == len(set(found)), "a span is in the ledger twice"
    assert set(acknowledged) <= set(found), "an acknowledged span is missing"
    assert set(found) <= set(sent)


def test_sigterm_brings_what_was_acknowledged_into_the_ledger_and_exits_0(tmp_path: Path) -> None:
    with running(tmp_path / "data") as collector:
        load = Load(collector)
        time.sleep(0.5)
        assert collector.stop() == 0
        load.stop()
    found = stored(tmp_path / "data")
    assert len(found) == len(set(found))
    assert set(load.acknowledged) <= set(found)
    assert not (tmp_path / "data" / "addresses.json").exists()


def test_a_second_collector_on_the_same_folder_is_refused_with_a_clear_line(tmp_path: Path) -> None:
    with running(tmp_path / "data") as collector:
        with pytest.raises(AssertionError, match=rf"another collector \(process {collector.process.pid}\)"):
            Running(tmp_path / "data")
        assert collector.stop() == 0


def test_a_call_is_visible_soon_after_it_was_acknowledged(tmp_path: Path) -> None:
    with running(tmp_path / "data") as collector:
        body, ids = calls(1)
        answer = httpx.post(f"{collector.http}/v1/traces", content=body, headers={"Content-Type": "application/x-protobuf"})
        assert answer.status_code == 200
        assert eventually(lambda: stored(tmp_path / "data"), lambda found: found == ids) == ids
        with connect(tmp_path / "data") as connection:
            assert connection.execute("select count(*), sum(input_tokens) from calls").fetchone() == (1, 1000)
