"""A full disk: what would change something is refused for now, leaves nothing half done, and works when there is room."""

import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from spanledger.control.tables import audit
from tests.api.running import running


@pytest.fixture
def disk(tmp_path: Path) -> Generator[Path]:
    """A disk of a few megabytes."""
    where = tmp_path / "disk"
    where.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(where)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", str(where)], check=False)


def fill(disk: Path) -> None:
    with (disk / "filler").open("ab", buffering=0) as filler:
        try:
            while filler.write(bytes(4096)):
                pass
        except OSError:
            pass


def limit(number: int) -> dict[str, Any]:
    return {"name": f"limit {number}", "measure": "requests", "amount": "10", "window": {"kind": "rolling", "seconds": 3600}}


def test_on_a_full_disk_each_change_is_refused_whole_and_works_when_there_is_room(disk: Path) -> None:
    with running(disk / "data") as server:
        client, control = server.client, server.collector.control
        made = [client.post("/api/limits", json=limit(0)).json()["id"]]
        fill(disk)
        for number in range(1, 1_000):  # the control database may still have room of its own
            answer = client.post("/api/limits", json=limit(number))
            if answer.status_code != 201:
                break
            made.append(answer.json()["id"])
        here = f"/api/limits/{made[0]}"
        until = "2100-01-01T00:00:00Z"
        answers = [
            answer,
            client.patch(here, json={"amount": "11"}),
            client.delete(here),
            client.post(f"{here}/grants", json={"kind": "top_up", "amount": "5", "reason": "why", "expires_at": until}),
            client.post("/api/pauses", json={"selectors": {"tenant": ["acme"]}, "reason": "why"}),
            client.post("/api/tiers", json={"name": "gold", "dimension": "tenant"}),
            client.post("/api/keys", json={"name": "one", "roles": ["ingest"]}),
            client.post(
                "/api/prices", json={"provider": "openai", "model": "gpt-4o", "rates": {"input_mtok": "1"}, "note": "why"}
            ),
            client.post("/api/prices/books", params={"installed": True, "note": "why"}),
        ]
        told = {(one.status_code, one.headers.get("retry-after"), one.json()["type"].rpartition("/")[2]) for one in answers}
        assert told == {(503, "30", "disk-full")}, [one.text for one in answers]
        assert client.post("/api/checks", json={}).status_code == 200

        assert sorted(one["id"] for one in server.get("/api/limits", count=1_000)["limits"]) == sorted(made)
        assert server.get(here)["amount"] == "10"
        for empty in ("pauses", "tiers", "keys"):
            assert server.get(f"/api/{empty}")[empty] == []
        assert server.get("/api/prices")["rules"] == []
        assert list(disk.glob("data/**/*.json.gz.new")) == []
        assert len(control.rows(audit, audit.c.table_name == "limits")) == len(made)

        (disk / "filler").unlink()
        assert client.post("/api/limits", json=limit(-1)).status_code == 201
        assert client.delete(here).status_code == 204
