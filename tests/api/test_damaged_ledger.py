"""A file of the ledger that goes bad under a running collector."""

import os
from pathlib import Path

import httpx

from tests.api.running import running
from tests.collector.made import calls, eventually, eventually_stored


def test_a_file_that_nobody_saw_go_bad_is_a_503_for_now_and_is_named_by_the_upkeep(tmp_path: Path) -> None:
    with running(tmp_path / "data") as server:
        body, ids = calls(50)
        headers = {"content-type": "application/x-protobuf"}
        url = f"http://{server.collector.addresses['http']}/v1/traces"
        assert httpx.post(url, content=body, headers=headers, timeout=60).status_code == 200
        assert sorted(eventually_stored(tmp_path / "data", ids)) == sorted(ids)
        [path] = (tmp_path / "data" / "entries").glob("day=*/*.parquet")
        was, moments = path.read_bytes(), path.stat()
        values = len(was) - 8 - int.from_bytes(was[-8:-4], "little")
        path.write_bytes(bytes(255 - byte if at % 60 == 59 else byte for at, byte in enumerate(was[:values])) + was[values:])
        os.utime(path, ns=(moments.st_atime_ns, moments.st_mtime_ns))
        answer = server.client.get("/api/summary")
        assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (503, "ledger-damaged")
        named = eventually(lambda: server.client.get("/api/summary"), lambda answer: path.name in answer.text)
        assert path.name in named.text
        assert "\nspanledger_damaged_files 1.0\n" in server.client.get("/metrics").text
        assert server.collector.maintenance.progress.failing == ""
