"""Which attributes somebody reads, so that prompts and answers, by far the most bytes, can be let go of before all else."""

from collections.abc import Callable
from functools import lru_cache

from spanledger.collector.dialects import DIALECTS, STRUCTURED, aliases
from spanledger.collector.dialects.fields import LISTS, OBJECTS
from spanledger.collector.dialects.meters import TYPE_ATTRIBUTES
from spanledger.collector.recognise.attribution import Attribution

#: Bytes of a value that are kept whatever it is: of attributes that nobody reads shorter ones stand in an entry's `attributes`,
#: up to 256 bytes of JSON, which as an array in protobuf are fewer than these.
LONGEST_UNREAD = 1024


def read_by(attribution: Attribution) -> Callable[[str], bool]:
    """Whether the value of an attribute of this name is read by a dialect, says whom a call is for, or becomes a tag."""
    table = attribution.table()
    named = {*STRUCTURED, *OBJECTS, *LISTS, *TYPE_ATTRIBUTES, *(name for names in table.values() for name in names)}
    for dialect in DIALECTS:
        named.update(aliases(dialect, table))

    @lru_cache(maxsize=4096)  # whoever sends telemetry chooses the names
    def reads(name: str) -> bool:
        return name in named or attribution.tag(name) is not None

    return reads
