"""Ending a collector cleanly, and starting a second one."""

import asyncio
import threading
import time
from itertools import count
from pathlib import Path

import httpx
import pytest

from spanledger.collector.config import ConfigError, load
from spanledger.collector.service import Collector
from tests.collector.made import Running, calls, running, stored


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
        with httpx.Client(timeout=60) as client:
            for number in count():
                if self._stopped.is_set():
                    return
                # By turns so small that the journal keeps it in SQLite, and so large that it fills segments.
                body, ids = calls(20, prompt_bytes=300_000 if number % 4 == 1 else 0)
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


def test_sigterm_brings_what_was_acknowledged_into_the_ledger_and_exits_0(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(data) as collector:
        process = collector.process.pid
        with pytest.raises(ConfigError, match=rf"another collector \(process {process}\) runs on {data}"):
            asyncio.run(Collector(load(None, {}, data=data, grpc_port=0, http_port=0, api_port=0)).start())
        load_ = Load(collector)
        time.sleep(0.5)
        assert collector.stop() == 0
        load_.stop()
    found = stored(data)
    assert len(found) == len(set(found))
    assert set(load_.acknowledged) <= set(found)
    assert not (data / "addresses.json").exists()
