"""A re-rating that a crash interrupts: neither a row without a posting nor a posting without a row stays unseen."""

import subprocess
import sys
from pathlib import Path

import pytest

from spanledger.control.tables import audit, reratings
from tests.prices.desks import desk_at
from tests.prices.test_moved_calls import ALL, HOUSE

ROOT = Path(__file__).parents[2]
DIES = """
import os, sys
from pathlib import Path
from tests.prices.desks import desk_at
from tests.prices.test_moved_calls import ALL, HOUSE

with desk_at(Path(sys.argv[1])) as at:
    at.post([HOUSE, {}])
    at.desk.make([{"provider": "*", "model": "house-llm", "rates": {"input_mtok": "1", "output_mtok": "2"}}], who="me")

    def post(entries):
        if sys.argv[2] == "after":
            at.ledger.post(entries, None)
        os._exit(9)

    at.desk._post = post
    at.desk.rerate(ALL, who="me", note="ticket 7", post=True)
"""


@pytest.mark.parametrize(("when", "state", "rows"), [("before", "not posted", 2), ("after", "posted", 1)])
def test_a_process_that_dies_around_the_commit_is_found_out(when: str, state: str, rows: int, tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", DIES, str(tmp_path), when], cwd=ROOT, timeout=120, check=False)
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
