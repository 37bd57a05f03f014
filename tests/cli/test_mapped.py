"""Pages of library files that only loading touched are given back, and whatever needs them again finds them."""

import subprocess
import sys
from pathlib import Path

import pytest

from spanledger.cli.mapped import unwritten

_SMAPS = """\
7f0000000000-7f0000001000 r--p 00000000 08:01 42                         /lib/libone.so.3
Rss:                   4 kB
Anonymous:             0 kB
VmFlags: rd mr mw me
7f0000001000-7f0000003000 r-xp 00001000 08:01 42                         /lib/libone.so.3
Anonymous:             4 kB
7f0000003000-7f0000004000 rw-p 00003000 08:01 42                         /lib/libone.so.3
Anonymous:             0 kB
7f0000004000-7f0000006000 r-xp 00000000 08:01 43                         /a folder/two.cpython-311-x86_64-linux-gnu.so
Anonymous:             0 kB
7f0000006000-7f0000007000 r--p 00000000 08:01 44                         /data/entries/one.parquet
Anonymous:             0 kB
7f0000007000-7f0000008000 r-xp 00000000 08:01 45                         /lib/gone.so (deleted)
Anonymous:             0 kB
7f0000008000-7f0000009000 r--p 00000000 00:00 0
Anonymous:             0 kB
"""


def test_only_what_libraries_never_wrote_to_is_given_back(tmp_path: Path) -> None:
    smaps = tmp_path / "smaps"
    smaps.write_text(_SMAPS)
    assert list(unwritten(smaps)) == [(0x7F0000000000, 0x7F0000001000), (0x7F0000004000, 0x7F0000006000)]
    assert list(unwritten(tmp_path / "none")) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what is mapped")
def test_a_process_is_smaller_when_it_has_started_and_still_works() -> None:
    program = """
import polars
from spanledger.cli.libraries import started
def mapped():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssFile"))
before = mapped()
started()
print(before, mapped(), polars.DataFrame({"a": [3, 1, 2]}).lazy().sort("a").collect()["a"].to_list())
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60).stdout
    before, after, result = said.split(maxsplit=2)
    assert result.strip() == "[1, 2, 3]"
    assert int(after) < int(before) / 2
