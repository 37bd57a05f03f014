"""What a crash interrupts: a re-rating of which neither a row nor a posting stays alone unseen, a fixed cost that is due once."""

import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import pytest

from spanledger.control.tables import audit, reratings
from tests.prices.desks import At, desk_at
from tests.prices.test_moved_calls import ALL, HOUSE

ROOT = Path(__file__).parents[2]
DIES = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from spanledger.collector.pricing.rerate import Range
from tests.prices.desks import desk_at

with desk_at(Path(sys.argv[1])) as at:
    at.post([{"provider": "vllm", "model": "house-llm"}, {}])
    at.desk.make([{"provider": "*", "model": "house-llm", "rates": {"input_mtok": "1", "output_mtok": "2"}}], who="me")
    ever = Range(since=datetime(2020, 1, 1, tzinfo=UTC), until=datetime(2030, 1, 1, tzinfo=UTC))

    def post(entries):
        if sys.argv[2] == "after":
            at.ledger.post(entries, None)
        os._exit(9)

    at.desk._post = post
    at.desk.rerate(ever, who="me", note="ticket 7", post=True)
"""


@pytest.mark.parametrize(("when", "state", "rows"), [("before", "not posted", 2), ("after", "posted", 1)])
def test_a_process_that_dies_around_the_commit_is_found_out(when: str, state: str, rows: int, tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", DIES, str(tmp_path), when], cwd=ROOT, timeout=250, check=False)
    assert died.returncode == 9
    with desk_at(tmp_path) as at:
        assert [row["state"] for row in at.control.rows(reratings)] == ["begun"]
        at.desk.take_back()
        assert [row["state"] for row in at.control.rows(reratings)] == [state]
        says = [(row["who"], row["why"]) for row in at.control.rows(audit) if row["table_name"] == "reratings"]
        assert sorted(says) == [("me", "ticket 7"), ("spanledger", "found out after an interruption")]
        at.desk.rerate(ALL, who="me", note="ticket 7", post=True)
        assert at.sql("select cost_state, sum(calls) from entries group by all having sum(calls) <> 0") == [("priced", 2)]
        assert len(at.control.rows(reratings)) == rows
        assert at.control.rows(reratings)[-1]["state"] in ("posted", state)


def test_another_collectors_re_rating_is_left_to_that_collector(tmp_path: Path) -> None:
    with desk_at(tmp_path) as at:
        at.post([HOUSE])
        at.desk.make([{"provider": "*", "model": "house-llm", "rates": {"input_mtok": "1", "output_mtok": "2"}}], who="me")
        at.desk.rerate(ALL, who="me", note="x", post=True)
        with at.control.change(who="me", why=None) as change:
            change.update(reratings, at.control.rows(reratings)[0]["id"], {"state": "begun", "begun_in": "elsewhere:/data"})
        at.desk.take_back()
        assert [row["state"] for row in at.control.rows(reratings)] == ["begun"]


MONTHLY = """
import os, signal, sys
from pathlib import Path
from tests.prices.desks import desk_at

with desk_at(Path(sys.argv[1])) as at:
    if not at.desk.rules.monthly():
        form = {"monthly_usd": "900", "valid_from": "2026-06-15T00:00:00Z", "provider": "azure", "scope": "tenant:acme"}
        at.desk.make([form], who="me")
    post = at.desk._post

    def dies(entries):
        if sys.argv[2] == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        post(entries)
        if sys.argv[2] == "after":
            os.kill(os.getpid(), signal.SIGKILL)

    at.desk._post = dies
    print("ready", flush=True)
    at.desk.post_monthly()
"""
#: From the 15th of June up to and with the 22nd of November.
MONTHLY_USD = 16 * Decimal(30) + 4 * Decimal(900) + 22 * Decimal(30)


def posted(at: At) -> tuple[int, int, Decimal]:
    sums = "select count(*), count(distinct entry_id), sum(cost_usd) from entries where starts_with(rule, 'monthly:')"
    return at.sql(sums)[0]


@pytest.mark.parametrize("moments", [["before", "after"], [0.005, 0.03]])
def test_a_fixed_cost_is_posted_once_whenever_its_process_is_killed(moments: list[str | float], tmp_path: Path) -> None:
    for moment in moments:
        words = [sys.executable, "-c", MONTHLY, str(tmp_path), str(moment)]
        with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            if isinstance(moment, float):
                time.sleep(moment)
                process.kill()
    with desk_at(tmp_path) as at:
        rest = at.desk.post_monthly()
        assert rest in ((0,) if "after" in moments else (0, 161))  # one commit: all or none
        assert posted(at) == (161, 161, MONTHLY_USD)
        assert at.desk.post_monthly() == 0
