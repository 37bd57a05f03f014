"""Asks the running collector for limits by name or id, and for whole lists."""

from pathlib import Path
from typing import Any


def client_of(data: Path) -> Any:
    """Imported when it is needed: help is to come at once."""
    from spanledger.cli.api_client import ApiClient

    return ApiClient(data)


def pages(client: Any, path: str, of: str, **query: Any) -> list[dict[str, Any]]:
    """All that a list of the API has under the key `of`, page by page."""
    found: list[dict[str, Any]] = []
    after: str | None = None
    while True:
        page = client.call("GET", path, count=1000, after=after, **query)[1]
        found += page[of]
        after = page["next"]
        if after is None:
            return found


def all_limits(client: Any, name: str | None = None) -> list[dict[str, Any]]:
    """All limits, or those whose names begin so."""
    return pages(client, "/api/limits", "limits", name=name)


def find(data: Path, limit: str) -> dict[str, Any]:
    """The limit of this name or id; leaves with 2 and a word to the user when there is none."""
    from urllib.parse import quote

    from spanledger.cli.say import fail

    client = client_of(data)
    if limit.startswith("lim_"):
        status, found = client.call("GET", f"/api/limits/{quote(limit, safe='')}", takes=(404,))
        if status == 200:
            return dict(found)
    named = next((one for one in all_limits(client, limit) if one["name"] == limit), None)
    if named is None:
        fail(f"there is no limit {limit!r}", hint="`spanledger limits list` shows them", code=2)
    return dict(client.call("GET", f"/api/limits/{named['id']}")[1])
