"""Books from files: a snapshot of genai-prices, LiteLLM's map or models.dev's, told apart by what is in them."""

import gzip
import hashlib
from collections.abc import Mapping
from typing import Any

import orjson
from genai_prices.types import _providers_from_raw
from pydantic import ValidationError

from spanledger.prices.book import Book
from spanledger.prices.litellm_file import litellm_book
from spanledger.prices.models_dev_file import models_dev_book
from spanledger.prices.snapshot import Snapshot

LARGEST = 64 * 2**20


class NotABook(ValueError):
    """The file holds no prices that can be read; the text says what is wrong with it."""


def book_of(content: bytes, version: str = "") -> Book:
    """The book in a file's bytes, gzipped or not. Raises `NotABook`."""
    if len(content) > LARGEST:
        raise NotABook("the file is larger than 64 MiB")
    digest = hashlib.sha256(content).hexdigest()
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError) as error:
            raise NotABook(f"the file is not whole: {error}") from error
    try:
        parsed = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise NotABook(f"the file is not JSON: {error}") from error
    if below_zero := _below_zero(parsed):
        raise NotABook(f"a price below zero: {below_zero}")
    version = version or digest[:12]
    if isinstance(parsed, list):
        return _snapshot(parsed, version)
    if not isinstance(parsed, dict):
        raise NotABook("the file is neither a list of providers nor an object of models")
    book = (models_dev_book if _is_models_dev(parsed) else litellm_book)(parsed, version, digest)
    if not book.models:
        raise NotABook("the file has no prices: expected genai-prices' data.json, LiteLLM's or models.dev's map")
    return book


def _below_zero(parsed: Any) -> str | None:
    """Where a price or cost is negative and what it is, in any of the formats."""
    left: list[tuple[str, bool, Any]] = [("", False, parsed)]
    while left:
        path, priced, value = left.pop()
        if isinstance(value, dict):
            left += [(f"{path}.{key}".strip("."), priced or "cost" in key or "price" in key, one) for key, one in value.items()]
        elif isinstance(value, list):
            left += [(f"{path}[{at}]", priced, one) for at, one in enumerate(value)]
        elif priced and isinstance(value, int | float) and value < 0:
            return f"{path} is {value}"
    return None


def _snapshot(parsed: list[Any], version: str) -> Snapshot:
    try:
        providers = _providers_from_raw(parsed)
    except (ValidationError, ValueError, TypeError, KeyError) as error:
        reason = str(error).splitlines()
        raise NotABook(f"the file is a list, but not one of genai-prices: {' '.join(reason[1:3]) or reason[0]}") from error
    if not any(provider.models for provider in providers):
        raise NotABook("the file lists no models")
    return Snapshot(providers, version)


def _is_models_dev(parsed: Mapping[str, Any]) -> bool:
    return any(isinstance(entry, Mapping) and isinstance(entry.get("models"), Mapping) for entry in parsed.values())
