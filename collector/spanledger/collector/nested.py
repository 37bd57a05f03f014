"""Attributes that hold several labels in one value become one attribute each: JSON objects and lists of tags."""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np
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
    attributes = telemetry.attributes
    at = np.flatnonzero(np.isin(attributes.key, holders))
    texts = attributes.texts(at, telemetry.keys)
    held = (texts.str.contains(r"^\s*[\[{]") & (texts.str.len_bytes() <= _LONGEST)).fill_null(False).arg_true().to_numpy()
    keys = list(telemetry.keys)
    known = {name: number for number, name in enumerate(keys)}
    rows, numbers, values = [], [], []
    for place, text in zip(at[held].tolist(), texts.gather(pl.Series(held)), strict=True):
        for name, value in _labels(telemetry.keys[attributes.key[place]], text):
            number = known.setdefault(name, len(keys))
            if number == len(keys):
                keys.append(name)
            rows.append(attributes.row[place])
            numbers.append(number)
            values.append(value)
    if not rows:
        return telemetry
    more = attributes.with_texts(np.array(rows, dtype=np.int64), np.array(numbers, dtype=np.int64), values)
    return replace(telemetry, keys=keys, attributes=more)


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
