"""The fault campaign: kill -9 at random moments under load, with readers running all the time; a disk that fills."""

import os
import random
import resource
import socket
import subprocess
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import duckdb
import httpx
import pytest

from spanledger.ledger.connect import connect
from tests.collector.made import calls, eventually, eventually_stored, running, stored
from tests.collector.test_loop import collected
from tests.collector.test_restart import Load


class Reader:
    """Reads the ledger in a loop; what it counts may only grow, and nothing may fail."""

    def __init__(self, data: Path) -> None:
        self.reads = 0
        self.failures: list[str] = []
        self._data = data
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        most = 0
        while not self._stopped.wait(0.05):
            try:
                with connect(self._data) as connection:
                    row = connection.execute("select count(*), count(distinct entry_id) from entries").fetchone()
                count, distinct = row or (0, 0)
                if count < most or count != distinct:
                    self.failures.append(f"{most} entries before, now {count}, {distinct} distinct")
                most = max(most, count)
                self.reads += 1
            except (duckdb.Error, OSError, ValueError) as error:
                self.failures.append(str(error))

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()


def campaign(data: Path, kills: int, seed: int) -> None:
    random_ = random.Random(seed)
    acknowledged: list[str] = []
    sent: list[str] = []
    reader = Reader(data)
    for _ in range(kills):
        with running(data) as collector:
            load = Load(collector)
            time.sleep(random_.uniform(0.05, 2.0))
            collector.kill()
            load.stop()
        acknowledged += load.acknowledged
        sent += load.sent
    assert collected(data).unfinished == []
    reader.stop()
    found = stored(data)
    assert len(found) == len(set(found)), "a span is in the ledger twice"
    assert set(acknowledged) <= set(found), f"{len(set(acknowledged) - set(found))} acknowledged spans are missing"
    assert set(found) <= set(sent)
    assert reader.failures == []
    assert reader.reads > 0


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
def test_200_kills_under_load_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    campaign(tmp_path / "data", 200, seed=int(os.environ.get("SPANLEDGER_SOAK_SEED", "20261125")))


@pytest.mark.soak
def test_ten_thousand_connections_that_send_one_byte_are_cut_and_others_are_served(tmp_path: Path) -> None:
    wanted = 10_000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < wanted + 500:
        pytest.skip(f"only {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    (tmp_path / "c.yaml").write_text(
        f"receivers: {{otlp: {{protocols: {{http: {{max_connections: {wanted + 10}, read_header_timeout: 10s}}}}}}}}"
    )
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        collector = stack.enter_context(running(tmp_path / "data", config=str(tmp_path / "c.yaml")))
        host, _, port = collector.addresses["http"].rpartition(":")
        slow = [stack.enter_context(socket.create_connection((host, int(port)), timeout=60)) for _ in range(wanted)]
        for connection in slow:
            connection.sendall(b"P")
        body, ids = calls(1)
        headers = {"Content-Type": "application/x-protobuf"}
        assert httpx.post(f"{collector.http}/v1/traces", content=body, headers=headers, timeout=60).status_code == 200
        for connection in slow:
            assert connection.recv(1) == b""
        assert eventually_stored(tmp_path / "data", ids) == ids
        assert collector.stop() == 0


def test_two_kills_under_load_lose_nothing_double_nothing_and_never_fail_a_reader(tmp_path: Path) -> None:
    campaign(tmp_path / "data", 2, seed=1)


def test_on_a_full_disk_senders_are_told_to_wait_and_intake_goes_on_when_there_is_room(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        with (
            running(disk / "data") as collector,
            httpx.Client(headers={"Content-Type": "application/x-protobuf"}, timeout=60) as client,
        ):
            url = f"{collector.http}/v1/traces"
            (disk / "filler").write_bytes(b"")
            acknowledged: list[str] = []
            refused: list[str] = []
            with (disk / "filler").open("wb") as filler:
                try:
                    while True:
                        filler.write(bytes(65536))
                        filler.flush()
                except OSError:
                    pass
            deadline = time.monotonic() + 60
            while not refused and time.monotonic() < deadline:
                body, ids = calls(200)
                answer = client.post(url, content=body)
                (acknowledged if answer.status_code == 200 else refused).extend(ids)
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) > 0
            (disk / "filler").unlink()
            body, ids = calls(5)
            answer = eventually(lambda: client.post(url, content=body), lambda answer: answer.status_code == 200)
            assert answer.status_code == 200
            acknowledged += ids
            assert sorted(eventually_stored(disk / "data", acknowledged)) == sorted(acknowledged)
            assert collector.stop() == 0
        found = stored(disk / "data")
        assert len(found) == len(set(found))
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)
