"""Of several collectors on one ledger, one at a time keeps its files: whoever holds the lock does the round.

Two at once would be safe, since a commit that takes out a file which is gone already does not pass; but one of them would work in
vain. So where there are no locks, as on an object store, each does its rounds.
"""

import fcntl
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

_FILE = "_keeper"


@contextmanager
def alone(table: Path | None) -> Generator[bool]:
    """Whether this process may keep the table now; no other may until the block ends. `table` is its folder on this machine."""
    if table is None:
        yield True
        return
    with (table / _FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError:  # a file system without locks
            pass
        yield True
