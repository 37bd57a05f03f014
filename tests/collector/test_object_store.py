"""A ledger in an object store, an S3 server that speaks HTTP: posted, read, put together, restarted, shared by two collectors."""

import subprocess
import sys
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from spanledger.analytics import connect
from spanledger.cli.findings import look
from spanledger.collector.backup import BackupError, back_up
from spanledger.ledger.maintenance import Maintenance
from spanledger.ledger.table import Ledger, LedgerError
from tests.collector.made import Running, calls, eventually, running, stored

_HEADERS = {"Content-Type": "application/x-protobuf"}


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[str]:
    """The URL of an empty bucket, whose server and keys are in the environment."""
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-p", "0"]
    with (tmp_path / "s3.log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            said = eventually((tmp_path / "s3.log").read_text, lambda text: "Running on " in text)
            url = said.partition("Running on ")[2].split()[0]
            for name, value in {
                "AWS_ENDPOINT_URL": url, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": "made", "AWS_SECRET_ACCESS_KEY": "up",
            }.items():  # fmt: skip
                monkeypatch.setenv(name, value)
            assert httpx.put(f"{url}/kept", timeout=60).status_code == 200
            yield "s3://kept"
        finally:
            server.kill()


def test_a_bucket_that_is_not_there_is_named_in_one_line(bucket: str) -> None:
    with pytest.raises(LedgerError) as raised:
        Ledger.open("s3://elsewhere/entries")
    said = str(raised.value)
    assert said.startswith("the ledger s3://elsewhere/entries cannot be read: ")
    assert said.endswith("The specified bucket does not exist")


def _send(collector: Running, count: int) -> list[str]:
    body, ids = calls(count)
    assert httpx.post(f"{collector.http}/v1/traces", content=body, headers=_HEADERS, timeout=60).status_code == 200
    return ids


def test_two_collectors_feed_one_ledger_in_an_object_store_and_everybody_reads_it(tmp_path: Path, bucket: str) -> None:
    (tmp_path / "c.yaml").write_text(f"exporters: {{ledger: {{url: '{bucket}/entries'}}}}\n")
    one, two = tmp_path / "one", tmp_path / "two"
    with running(one, config=str(tmp_path / "c.yaml")) as first, running(two, config=str(tmp_path / "c.yaml")) as second:
        sent: list[str] = [identity for _ in range(2) for collector in (first, second) for identity in _send(collector, 3)]
        assert sorted(eventually(lambda: stored(one), lambda found: len(list(found)) == len(sent))) == sorted(sent)
        second.kill()
        assert first.stop() == 0
    with running(two, config=str(tmp_path / "c.yaml")) as again:
        sent += _send(again, 2)
        assert again.stop() == 0
    assert sorted(stored(two)) == sorted(sent)

    ledger = Ledger.open(f"{bucket}/entries")
    before = len(ledger.files())
    Maintenance(ledger, clock=lambda: datetime.now(UTC) + timedelta(days=3), grace_seconds=0).round()
    assert len(ledger.files()) < before
    assert sorted(stored(one)) == sorted(sent)
    with connect(one) as connection:
        assert connection.execute("select sum(calls), sum(entries) from rollup").fetchone() == (len(sent), len(sent))
    [found] = [finding for finding in look(one, None) if finding.subject == "ledger"]
    assert (found.state, f"at {bucket}/entries" in found.says) == ("good", True)
    with pytest.raises(BackupError, match=f"is at {bucket}/entries"):
        back_up(one, tmp_path / "backup")
