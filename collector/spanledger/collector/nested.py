"""Attributes that hold several labels in one value become one attribute each: JSON objects and lists of tags."""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import orjson
import polars as pl

from spanledger.collector.decode import Telemetry
from spanledger.collector.dialects.fields import LISTS, OBJECTS

#: Longer values are no labels, and no more than these of one object are read.
_LONGEST, _MOST, _LONGEST_LABEL = 65_536, 64, 256


def opened(telemetry: Telemetry) -> Telemetry:
    """The telemetry with what its objects and lists of labels hold as attributes of their own, after all others."""
    holders = [number for number, name in enumerate(telemetry.keys) if name in OBJECTS or name in LISTS]
    if not holders:
        return telemetry
    held = telemetry.attributes.filter(
        pl.col("key").is_in(holders), pl.col("text").str.contains(r"^\s*[\[{]"), pl.col("text").str.len_bytes() <= _LONGEST
    )
    keys = list(telemetry.keys)
    known = {name: number for number, name in enumerate(keys)}
    rows = []
    for row, key, text in held.select("row", "key", "text").iter_rows():
        for name, value in _labels(telemetry.keys[key], text):
            number = known.setdefault(name, len(keys))
            if number == len(keys):
                keys.append(name)
            rows.append((row, number, value))
    if not rows:
        return telemetry
    found = pl.DataFrame(rows, schema={"row": pl.Int64, "key": pl.Int32, "text": pl.String}, orient="row")
    return replace(telemetry, keys=keys, attributes=pl.concat([telemetry.attributes, found], how="diagonal"))


@lru_cache(maxsize=1024)
def _labels(attribute: str, text: str) -> tuple[tuple[str, str], ...]:
    """What one value holds; nothing if it is no JSON."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return ()
    pairs = _of_list(value) if attribute in LISTS else _of_object(attribute, value)
    return tuple((name, label) for name, label in pairs if label and len(label) <= _LONGEST_LABEL)[:_MOST]


def _of_object(attribute: str, value: object) -> Iterator[tuple[str, str]]:
    for key, held in value.items() if isinstance(value, dict) else ():
        if isinstance(held, bool):
            yield f"{attribute}:{key}", "true" if held else "false"
        elif isinstance(held, str | int | float):
            yield f"{attribute}:{key}", str(held)


def _of_list(value: object) -> Iterator[tuple[str, str]]:
    for label in value if isinstance(value, list) else ():
        if isinstance(label, str):
            mark = next((sign for sign in label if sign in ":="), "")
            name, _, given = label.partition(mark) if mark else (label, "", "true")
            if name.strip() and given.strip():
                yield f"tag:{name.strip()}", given.strip()
