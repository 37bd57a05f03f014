"""Books from files: a snapshot of genai-prices, LiteLLM's map or models.dev's, told apart by what is in them."""

import gzip
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import orjson
from genai_prices.types import _providers_from_raw
from pydantic import ValidationError

from spanledger.prices.books.book import Book
from spanledger.prices.books.faults import genai_fault, litellm_fault, models_dev_fault
from spanledger.prices.books.litellm_file import litellm_book
from spanledger.prices.books.models_dev_file import models_dev_book
from spanledger.prices.books.snapshot import Snapshot

LARGEST = 64 * 2**20

EXPECTED = (
    'expected the file of one of three price lists: genai-prices\' data.json (a list of providers, each with "models" that have '
    '"match" and "prices"), LiteLLM\'s model_prices_and_context_window.json ("MODEL": {"litellm_provider": …, '
    '"input_cost_per_token": …}) or models.dev\'s api.json ("PROVIDER": {"models": {"MODEL": {"cost": {"input": …}}}}); '
    "rules are imported from a file as `spanledger prices export` writes it"
)


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
    parsed = _parsed(content)
    version = version or digest[:12]
    if isinstance(parsed, list):
        return _snapshot(parsed, version)
    if not isinstance(parsed, dict):
        raise NotABook(f"the file is {_kind(parsed)}: {EXPECTED}")
    models_dev = _is_models_dev(parsed)
    if fault := (models_dev_fault if models_dev else litellm_fault)(parsed):
        raise NotABook(fault)
    try:
        book = (models_dev_book if models_dev else litellm_book)(parsed, version, digest)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise NotABook(
            f"the file reads like {'models.dev' if models_dev else 'LiteLLM'}'s up to where {error}; {EXPECTED}"
        ) from error
    if not book.models:
        first = f"; its first field, {next(iter(parsed))!r}, is neither a model with a price nor a provider" if parsed else ""
        raise NotABook(f"the file has no prices{first}: {EXPECTED}")
    return book


def _parsed(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        try:
            # Python's own reader takes NaN and numbers without an end, so that their place can be named.
            return json.loads(content)
        except (ValueError, RecursionError):
            raise NotABook(f"the file is not JSON: {error}; {EXPECTED}") from error


def _kind(parsed: Any) -> str:
    return {str: "a text", int: "a number", float: "a number", bool: "a truth value"}.get(type(parsed), "empty")


def _snapshot(parsed: list[Any], version: str) -> Snapshot:
    if fault := genai_fault(parsed):
        raise NotABook(fault)
    try:
        providers = _providers_from_raw(parsed)
    except (ValidationError, ValueError, TypeError, KeyError) as error:
        reason = str(error).splitlines()
        raise NotABook(
            f"the file is a list, but not one of genai-prices: {' '.join(reason[1:3]) or reason[0]}; {EXPECTED}"
        ) from error
    if not any(provider.models for provider in providers):
        raise NotABook(f"the file lists no models: {EXPECTED}")
    return Snapshot(providers, version)


def _is_models_dev(parsed: Mapping[str, Any]) -> bool:
    return any(isinstance(entry, Mapping) and isinstance(entry.get("models"), Mapping) for entry in parsed.values())
