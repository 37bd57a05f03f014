"""Talks to a running collector's API for the commands that need it, with nothing but the standard library."""

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from spanledger.cli.say import fail

SECONDS = 60


class ApiClient:
    """The API of the collector over a data folder, or at `SPANLEDGER_API`; `SPANLEDGER_API_KEY` is the key it is asked with."""

    def __init__(self, data: Path) -> None:
        self._url = os.environ.get("SPANLEDGER_API") or _running(data)
        self._key = os.environ.get("SPANLEDGER_API_KEY")

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        takes: Sequence[int] = (),
        headers: Mapping[str, str] | None = None,
        **query: Any,
    ) -> tuple[int, Any]:
        """Status and body of an answer. A problem that is not in `takes` is said in one line, and ends the command."""
        wanted = {name: value for name, value in query.items() if value is not None}
        url = f"{self._url}{path}" + (f"?{urllib.parse.urlencode(wanted, doseq=True)}" if wanted else "")
        sent = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, sent, method=method, headers={"content-type": "application/json"})  # noqa: S310
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        if self._key:
            request.add_header("authorization", f"Bearer {self._key}")
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
                text = answer.read()
                return answer.status, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            found = _body(error)
            if error.code in takes:
                return error.code, found
            _fail(error.code, found)
        except (urllib.error.URLError, OSError) as error:
            fail(f"the API at {self._url} does not answer: {getattr(error, 'reason', error)}", hint="spanledger doctor says more")


def _running(data: Path) -> str:
    from spanledger.cli.addresses import running

    addresses = running(data)
    if addresses is None:
        fail(
            f"no collector runs over {data}",
            hint="start one with `spanledger up`, or name another with --data or SPANLEDGER_API",
        )
    return addresses.api


def _body(error: urllib.error.HTTPError) -> Any:
    try:
        return json.loads(error.read())
    except ValueError:
        return {"detail": error.reason}


def _fail(code: int, found: Any) -> NoReturn:
    hint = "give a key in SPANLEDGER_API_KEY" if code in (401, 403) else ""
    fail(str(found.get("detail", code)) if isinstance(found, dict) else str(found), hint=hint, code=2 if code == 422 else 1)
