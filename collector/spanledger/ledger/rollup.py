"""The roll-up: sums of entries by quarter of an hour and the usual dimensions, always equal to the entries.

A segment file holds the sums of some files of entries, its sources, each row with the number of its source. Files of
entries never change, so those sums stay right for ever; a reader takes from the segments what belongs to files of its own
snapshot, and everything else from the entries themselves. So the roll-up needs no part in any commit: whatever of
it is late, lost or left over after a crash makes a question slower, never wrong.

There are two: `fine` by all of `FINE`, and `coarse` by those that do not multiply with the number of customers.
"""

import json
import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Literal

from spanledger.ledger.schema import ENTRIES, MEASURES, MONEY

Grain = Literal["fine", "coarse"]

#: View → its grain.
VIEWS: dict[str, Grain] = {"rollup": "fine", "rollup_coarse": "coarse"}

#: Minutes of a slot: divides the offset of every time zone in use.
SLOT_MINUTES = 15
_SLOT = SLOT_MINUTES * 60_000_000

#: The dimensions of each grain, beside the slot, `outcome` and `cost_state`.
DIMENSIONS_OF: dict[Grain, tuple[str, ...]] = {
    "fine": (
        "tenant", "project", "agent", "environment", "service", "api_key_id",
        "provider", "model", "requested_model", "operation", "service_tier", "region",
    ),
    "coarse": ("environment", "service", "provider", "model", "requested_model", "operation", "service_tier", "region"),
}  # fmt: skip
STATES = ("outcome", "cost_state")

#: The folder inside the table's; Delta leaves names with an underscore alone.
FOLDER = "_rollup"
_MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Two files of sums, one of each grain, of the entries in `sources`: paths in the table, in the order of their numbers.

        `sizes` are the bytes of each: a file that has another size is not believed.
    All sources are of one month, so that a range of time reads few segments.
    """

    name: str
    month: str
    sources: tuple[str, ...]
    sizes: dict[str, int]

    def file(self, grain: Grain) -> str:
        """Its file's path in the table."""
        return f"{FOLDER}/{self.name}.{grain}.parquet"


@dataclass(frozen=True, slots=True)
class Manifest:
    """Which segments there are; no source is in two of them."""

    segments: tuple[Segment, ...] = field(default=())

    @property
    def sources(self) -> set[str]:
        """All files of entries whose sums are here."""
        return {source for segment in self.segments for source in segment.sources}

    @property
    def files(self) -> set[str]:
        """The paths of all segment files in the table."""
        return {segment.file(grain) for segment in self.segments for grain in DIMENSIONS_OF}


def read_manifest(table: Path) -> Manifest:
    """The segments of a table on this machine; none when there is no roll-up or it cannot be read."""
    try:
        found = json.loads((table / FOLDER / _MANIFEST).read_bytes())
        return Manifest(tuple(Segment(**{**one, "sources": tuple(one["sources"])}) for one in found["segments"]))
    except (OSError, ValueError, TypeError, KeyError):
        return Manifest()


def sound(table: Path, manifest: Manifest) -> Manifest:
    """Without the segments of which a file is missing or was cut: their sums are made anew."""
    return Manifest(
        tuple(
            segment
            for segment in manifest.segments
            if all(_sound(table / segment.file(grain), segment.sizes[grain]) for grain in DIMENSIONS_OF)
        )
    )


def write_manifest(table: Path, manifest: Manifest) -> None:
    """Put a manifest in the place of the one before, on disk, at once or not at all."""
    written = table / FOLDER / f"{_MANIFEST}.new"
    with written.open("wb") as out:
        out.write(json.dumps({"segments": [asdict(segment) for segment in manifest.segments]}).encode())
        out.flush()
        os.fsync(out.fileno())
    written.replace(table / FOLDER / _MANIFEST)


def columns(grain: Grain) -> dict[str, str]:
    """Column name → DuckDB's type, in order: time, dimensions, `entries` (how many), and every measure."""
    measures = {name: "decimal(38, 12)" if ENTRIES.field(name).type == MONEY else _plain(name) for name in MEASURES}
    dimensions = dict.fromkeys((*DIMENSIONS_OF[grain], *STATES), "varchar")
    return {"day": "date", "slot": "timestamptz", **dimensions, "entries": "bigint", **measures}


def view(grain: Grain, table: Path | None, paths: Iterable[str], entries: Callable[[list[str]], str]) -> str:
    """The select of a grain over the files of a snapshot: sums from the segments, and `entries` of what has none.

    `paths` are the snapshot's files as the log has them; `entries` makes a select over some of them.
    """
    live = list(paths)
    alive, without = set(live), set(live)
    parts, whole = [], []
    manifest = Manifest() if table is None else read_manifest(table)
    for segment in manifest.segments:
        numbers = [number for number, source in enumerate(segment.sources) if source in alive]
        if not numbers or table is None or not _sound(table / segment.file(grain), segment.sizes[grain]):
            continue
        without.difference_update(segment.sources)
        path = quoted(str(table / segment.file(grain)))
        if len(numbers) == len(segment.sources):
            whole.append(path)
        else:
            parts.append(_stored(grain, path, f"where source in ({', '.join(map(str, numbers))})"))
    if whole:
        parts.insert(0, _stored(grain, ", ".join(whole), ""))
    left = [path for path in live if path in without]
    if left or not parts:
        parts.append(slotted(entries(left), grain))
    return " union all ".join(parts)


def of_sources(grain: Grain, rows: str, unused: Collection[str] = ()) -> str:
    """A select of sums by source and the keys of a grain; `rows` is a `from` over rows that have them and `source`.

    Measures in `unused` are null in all of these rows.
    """
    types = columns(grain)
    keys = ", ".join(f'"{name}"' for name in types if name != "entries" and name not in MEASURES)
    sums = ", ".join(
        f'null::{kind} as "{name}"' if name in unused else f'sum("{name}")::{kind} as "{name}"'
        for name, kind in types.items()
        if name == "entries" or name in MEASURES
    )
    return f"select source, {keys}, {sums} {rows} group by source, {keys}"


def slotted(rows: str, grain: Grain = "fine") -> str:
    """A select of single entries in the columns of a grain."""
    return f"select {_of_entries(grain)} from ({rows})"  # noqa: S608


def month_of(day: date) -> str:
    """The month that a day's sums are kept with."""
    return f"{day:%Y-%m}"


def quoted(text: str) -> str:
    """As SQL writes a text."""
    return "'" + text.replace("'", "''") + "'"


def _sound(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _stored(grain: Grain, paths: str, where: str) -> str:
    names = ", ".join(f'"{name}"' for name in columns(grain))
    return f"select {names} from read_parquet([{paths}], hive_partitioning = false) {where}"  # noqa: S608


def _of_entries(grain: Grain) -> str:
    made = {
        # Arithmetic, as time zones make `time_bucket` ten times as slow; the second modulo is for moments before 1970.
        "slot": f"make_timestamptz(epoch_us(occurred_at) - (epoch_us(occurred_at) % {_SLOT} + {_SLOT}) % {_SLOT})",
        "entries": "1::bigint",
    }
    return ", ".join(f'{made.get(name, chr(34) + name + chr(34))}::{kind} as "{name}"' for name, kind in columns(grain).items())


def _plain(name: str) -> str:
    return "double" if str(ENTRIES.field(name).type) == "double" else "bigint"
