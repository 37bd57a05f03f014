"""Attributes that hold several labels in one value become one attribute each: JSON objects and lists of tags."""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np
import orjson
import pyarrow.compute as pc

from spanledger.collector.decode.decode import Telemetry
from spanledger.collector.dialects.fields import LISTS, OBJECTS

#: Longer values are no labels, and no more than these of one object are read.
_LONGEST, _MOST, _LONGEST_LABEL = 65_536, 64, 256
_STRUCTURE = re.compile(r"\s*[\[{]")


def opened(telemetry: Telemetry) -> Telemetry:
    """The telemetry with what its objects and lists of labels hold as attributes of their own, after all others."""
    attributes = telemetry.attributes
    holds = np.array([name in OBJECTS or name in LISTS for name in telemetry.keys])
    at = np.flatnonzero(holds[attributes.key]) if len(attributes) else attributes.key
    if not len(at):
        return telemetry
    holder = attributes.key[at]
    texts = pc.dictionary_encode(attributes.texts(at, telemetry.keys))
    code = texts.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    values: list[str] = []
    known = {name: number for number, name in enumerate(telemetry.keys)}
    places, numbers, sources = [], [], []
    held = texts.dictionary.to_pylist()
    short = (pc.binary_length(texts.dictionary).to_numpy(zero_copy_only=False) <= _LONGEST).tolist()
    # What is said twice in a batch is read once.
    pairs, inverse = np.unique(holder * (len(held) + 1) + code + 1, return_inverse=True)
    grouped = np.split(at[np.argsort(inverse, kind="stable")], np.cumsum(np.bincount(inverse))[:-1])
    for pair, ours in zip(pairs.tolist(), grouped, strict=True):
        key, text = pair // (len(held) + 1), pair % (len(held) + 1) - 1
        told = _labels(telemetry.keys[key], held[text]) if text >= 0 and short[text] and _STRUCTURE.match(held[text]) else ()
        if told:
            places.append(np.repeat(ours, len(told)))
            numbers.append(np.tile([known.setdefault(name, len(known)) for name, _ in told], len(ours)))
            sources.append(np.tile(np.arange(len(values), len(values) + len(told)), len(ours)))
            values += [value for _, value in told]
    if not values:
        return telemetry
    order = np.argsort(np.concatenate(places), kind="stable")
    place, number, source = (np.concatenate(each)[order] for each in (places, numbers, sources))
    more = attributes.with_texts(attributes.row[place], number, source, values)
    return replace(telemetry, keys=list(known), attributes=more)


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
