"""`spanledger backup`, `restore`, `repair`, and what is said of a damaged ledger."""

import json
from pathlib import Path

from spanledger.ledger.table import Ledger
from tests.cli.command import here
from tests.ledger.made import entries, entry


def _data(folder: Path) -> Path:
    ledger = Ledger.open(folder / "data" / "entries")
    for number in range(3):
        ledger.post(entries(entry(f"{number:032x}")), mark=number + 1)
    return folder / "data"


def test_a_backup_is_made_and_put_back_and_never_over_something(tmp_path: Path) -> None:
    data = _data(tmp_path)
    made = here("backup", str(tmp_path / "kept"), "--data", str(data))
    assert (made.code, "3 entries in 3 files" in made.out) == (0, True)
    put_back = here("restore", str(tmp_path / "kept"), "--data", str(tmp_path / "again"))
    assert (put_back.code, "3 entries of" in put_back.out) == (0, True)
    assert here("sql", "select count(*) as n from calls", "--csv", "--data", str(tmp_path / "again")).out == "n\n3\n"
    refused = here("restore", str(tmp_path / "kept"), "--data", str(data))
    assert (refused.code, "is not empty" in refused.err) == (1, True)
    for inside in ("kept", "entries/kept"):
        refused = here("backup", str(data / inside), "--data", str(data))
        assert (refused.code, "is inside of" in refused.err, (data / inside).exists()) == (1, True, False)


def test_a_damaged_file_is_named_the_rest_is_served_and_repair_goes_on_without_it(tmp_path: Path) -> None:
    data = _data(tmp_path)
    lost = Path(Ledger.open(data / "entries").files()[0])
    lost.unlink()
    asked = here("sql", "select count(*) as n from calls", "--csv", "--data", str(data))
    assert (asked.code, asked.out) == (0, "n\n2\n")
    assert lost.name in asked.err
    [found] = [one for one in json.loads(here("doctor", "--json", "--data", str(data)).out) if one["subject"] == "damaged"]
    assert lost.name in found["says"]
    assert "spanledger repair" in found["do"]
    assert f"{lost.name} with 1 entry of 2026-03-05 is missing" in here("repair", "--data", str(data)).out
    again = here("sql", "select count(*) as n from calls", "--csv", "--data", str(data))
    assert (again.out, again.err) == ("n\n2\n", "")
    looked_at = json.loads(here("doctor", "--json", "--data", str(data)).out)
    assert "damaged" not in {one["subject"] for one in looked_at}
