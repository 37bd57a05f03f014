"""Asks about prices: the running collector over its API, or, when none runs, the same routes over the data folder."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spanledger.cli.addresses import running
from spanledger.cli.say import fail

Json = dict[str, Any]


def ask(data: Path, method: str, path: str, *, body: Json | bytes | None = None, query: Mapping[str, Any] | None = None) -> Json:
    """The answer of a route under /api/prices; leaves with one line when it is an error."""
    from urllib.parse import urlencode

    given = {name: _text(value) for name, value in (query or {}).items() if value not in (None, "")}
    target = f"/api/prices{path}" + (f"?{urlencode(given)}" if given else "")
    sent = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    addresses = running(data)
    url = os.environ.get("SPANLEDGER_API") or (addresses.api if addresses else None)
    status, answer = _over_http(url, method, target, sent) if url else _in_process(data, method, target, sent)
    if status >= 400:
        fail(str(answer.get("detail") or answer), hint=_hint(answer), code=2 if status == 422 else 1)
    return answer


def ask_all(data: Path, path: str, name: str, *, query: Mapping[str, Any] | None = None) -> Json:
    """The first page of a list with all that follows in its place."""
    answer = page = ask(data, "GET", path, query={**(query or {}), "count": 1000})
    while page["next"] is not None:
        page = ask(data, "GET", path, query={**(query or {}), "count": 1000, "after": page["next"]})
        answer[name] += page[name]
    return answer


def _text(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value).lower() if isinstance(value, bool) else str(value)


def _hint(answer: Mapping[str, Any]) -> str:
    if str(answer.get("type", "")).endswith("not-accepted"):
        moves = [move for move in answer.get("moved", ()) if move["large"]]
        lines = [f"{m['provider']}/{m['model']} {m['unit']} ({m['tier']}): {m['was']} → {m['now']}" for m in moves[:10]]
        lines += [f"{name}: it would have no price in this book" for name in answer.get("vanished", ())[:10]]
        lines += [f"{name}: new, and would cost nothing" for name in answer.get("free", ())[:10]]
        return "\n  ".join([*lines, "if this is right, say so with --accept"])
    return ""


def _over_http(url: str, method: str, target: str, body: bytes) -> tuple[int, Json]:
    import urllib.error
    import urllib.request

    headers = {"content-type": "application/json"}
    if key := os.environ.get("SPANLEDGER_API_KEY"):
        headers["authorization"] = f"Bearer {key}"
    request = urllib.request.Request(f"{url}{target}", data=body or None, method=method, headers=headers)  # noqa: S310  # our own address
    try:
        with urllib.request.urlopen(request, timeout=600) as answer:  # noqa: S310
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"{}")
    except OSError as error:
        fail(f"the collector at {url} does not answer: {error}", hint="see `spanledger doctor`")


def _in_process(data: Path, method: str, target: str, body: bytes) -> tuple[int, Json]:
    import asyncio
    import getpass
    from types import SimpleNamespace

    from fastapi import FastAPI

    from spanledger.api.prices import router
    from spanledger.api.problem import answer_problems
    from spanledger.collector.config import load
    from spanledger.collector.lock import AlreadyRunning, FolderLock
    from spanledger.collector.pricing import PriceDesk, open_prices
    from spanledger.control import Control, ControlError
    from spanledger.ledger.connect import connect
    from spanledger.ledger.table import Ledger, LedgerError
    from spanledger.prices.books.file import NotABook

    config = load(None, os.environ, data=data)
    try:
        with FolderLock(config.data):
            control = Control.open(config.control)
            try:
                ledger = Ledger.open(config.ledger)
                # No counters: they are counted from the ledger when a collector starts.
                desk = PriceDesk(
                    control,
                    config.data,
                    open_prices(control, config.data, config.settings.processors.prices.made()),
                    read=lambda: connect(config.ledger),
                    post=lambda entries: ledger.post(entries, None),
                )
                collector = SimpleNamespace(price_desk=desk)
                app = FastAPI()
                app.state.collector = collector
                answer_problems(app)
                app.include_router(router)
                return asyncio.run(_answer(app, method, target, body, getpass.getuser()))
            finally:
                control.close()
    except (AlreadyRunning, ControlError, LedgerError, NotABook) as error:
        fail(str(error))


async def _answer(app: Any, method: str, target: str, body: bytes, who: str) -> tuple[int, Json]:
    path, _, query = target.partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http", "path": path,
        "raw_path": path.encode(), "query_string": query.encode(), "root_path": "", "client": None, "server": None,
        "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())],
        "state": {"who": who},
    }  # fmt: skip
    status, answered, given = 500, b"", False

    async def receive() -> dict[str, Any]:
        nonlocal given
        if given:
            return {"type": "http.disconnect"}
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Mapping[str, Any]) -> None:
        nonlocal status, answered
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            answered += message.get("body", b"")

    await app(scope, receive, send)
    return status, json.loads(answered or b"{}")
