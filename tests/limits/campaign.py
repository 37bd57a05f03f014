"""A campaign against one limit: real collectors as processes, one Redis, many clients that check, call, send a span.

The provider is a pause. Everything else is real: HTTP, holds, OTLP, the journal, the ledger, Redis, `kill -9`.
"""

import asyncio
import json
import os
import random
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from spanledger.ledger.connect import connect
from spanledger.limits.size import ASSUMED_OUTPUT_TOKENS

CENT = Decimal("0.01")
LIMIT = {
    "name": "five dollars",
    "measure": "cost_usd",
    "window": "lifetime",
    "amount": "5.00",
    "thresholds": [],
    "on_failure": "closed",
}


class CollectorProcess:
    """`spanledger serve` with a journal of its own; ledger, control database and Redis are shared."""

    def __init__(self, folder: Path, name: str, redis_url: str | None) -> None:
        self.data = folder / name
        self._config = folder / f"{name}.yaml"
        extensions: dict[str, Any] = {"control": {"url": f"sqlite:///{folder / 'control.sqlite'}"}}
        if redis_url:
            extensions["counters"] = {"url": redis_url}
        exporters = {"ledger": {"url": str(folder / "entries")}} if redis_url else {}
        self._config.write_text(yaml.safe_dump({"extensions": extensions, "exporters": exporters}))
        self._ports: list[str] = ["--grpc-port", "0", "--http-port", "0", "--api-port", "0"]
        self._process: subprocess.Popen[str] | None = None
        self.api = self.otlp = ""

    def start(self) -> None:
        words = [sys.executable, "-m", "spanledger.cli", "serve", "--announce", "--config", str(self._config)]
        with (self.data.parent / "log").open("a") as log:
            self._process = subprocess.Popen(
                [*words, "--data", str(self.data), *self._ports], stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self._process.stdout is not None
        told = json.loads(self._process.stdout.readline())
        self.api, self.otlp = told["api"], told["http"]
        # Started again, it is to be found where it was.
        self._ports = [
            "--grpc-port",
            "0",
            "--http-port",
            self.otlp.rpartition(":")[2],
            "--api-port",
            str(urlsplit(self.api).port),
        ]

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._gone()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._gone()

    def _gone(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.wait(60)
        self._process.stdout.close()
        self._process = None

    def entries(self) -> dict[str, Decimal]:
        """Entry id → cost, as this collector's ledger has it."""
        with connect(self.data) as connection:
            rows = connection.execute("select entry_id, cost_usd from entries where cost_usd is not null").fetchall()
        return {entry_id: Decimal(cost) for entry_id, cost in rows}


async def request(address: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """One request on a connection of its own: it fails alone when its collector is killed."""
    url = urlsplit(address if "//" in address else f"http://{address}")
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    try:
        sent = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\n"
        writer.write(f"{head}content-length: {len(sent)}\r\n\r\n".encode() + sent)
        answer = await reader.read()
    finally:
        writer.close()
    said, _, text = answer.partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: *(\d+)", said, re.IGNORECASE)
    if length is None or len(text) < int(length[1]):
        raise ConnectionError("it was killed before it had answered")
    return int(said.split()[1]), json.loads(text) if text.strip() else None


def span(hold_id: str, output_tokens: int, began: float, ended: float) -> dict[str, Any]:
    """A chat span as the conventions have it, in OTLP/JSON."""
    attributes = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o", "spanledger.hold.id": hold_id, "spanledger.tenant": "acme",
    }  # fmt: skip
    listed: list[dict[str, Any]] = [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()]
    for key, tokens in (("gen_ai.usage.input_tokens", 0), ("gen_ai.usage.output_tokens", output_tokens)):
        listed.append({"key": key, "value": {"intValue": str(tokens)}})
    one = {
        "traceId": secrets.token_hex(16), "spanId": secrets.token_hex(8), "name": "chat gpt-4o", "kind": 3,
        "startTimeUnixNano": str(int(began * 1e9)), "endTimeUnixNano": str(int(ended * 1e9)), "attributes": listed,
    }  # fmt: skip
    scope = {"scope": {"name": "spanledger"}, "spans": [one]}
    return {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [scope]}]}


@dataclass
class Tally:
    """What the clients saw, and what they know must be the most that can be used and held at any moment.

    `refused_while_free`: though what was used and held left room for the call, and the counters were there to say so.
    `held_by_nobody`: refused for more than all calls that were let through, or asked just then, can use and hold.
    """

    passed: int = 0
    refused: int = 0
    refused_while_free: int = 0
    refused_while_away: int = 0
    held_by_nobody: int = 0
    failed: int = 0
    most: list[Decimal] = field(default_factory=lambda: [Decimal(0)], repr=False)

    def may_hold(self, dollars: Decimal) -> None:
        """From now on so much more, or less, can be used and held."""
        self.most.append(self.most[-1] + dollars)

    def refuse(self, answer: dict[str, Any], since: int) -> None:
        """Judge a refusal; `since` is how long `most` was when its check was asked."""
        used, held, requested, amount = (Decimal(answer[name]) for name in ("used", "held", "requested", "amount"))
        self.refused += 1
        if answer["counters_away"]:
            self.refused_while_away += 1
            return
        self.refused_while_free += used + held + requested <= amount
        self.held_by_nobody += used + held > max(self.most[since - 1 :])


async def client(
    collectors: Sequence[tuple[str, str]], tally: Tally, deadline: float, *, asks: dict[str, Any], settles: bool, think: float
) -> None:
    """Check, call, send the span; stop when the limit is spent, or at the deadline."""
    size = Decimal(asks.get("max_output_tokens", ASSUMED_OUTPUT_TOKENS)) / 1000 * CENT
    while time.monotonic() < deadline:
        api, _ = random.choice(collectors)
        tally.may_hold(size)
        since = len(tally.most)
        try:
            body = {"tenant": "acme", "provider": "openai", "model": "gpt-4o", "operation": "chat", "input_tokens": 0, **asks}
            status, answer = await request(api, "POST", "/api/checks", body)
        except OSError as error:
            tally.failed += 1
            if isinstance(error, ConnectionRefusedError):
                tally.may_hold(-size)
            await asyncio.sleep(0.1)
            continue
        if status != 200:
            tally.refuse(answer, since)
            tally.may_hold(-size)
            if answer["used"] != "0" and Decimal(answer["used"]) + Decimal(answer["requested"]) > Decimal(answer["amount"]):
                return
            await asyncio.sleep(random.uniform(0.05, 0.3))
            continue
        tally.passed += 1
        started = time.time()
        await asyncio.sleep(random.uniform(0.5, 1.5) * think)
        if settles:
            await _until_taken([(api, f"/api/holds/{answer['hold_id']}/settle", {"input_tokens": 0, "output_tokens": 1000})])
            tally.may_hold(CENT - size)
        sent = span(answer["hold_id"], 1000, started, time.time())
        await _until_taken([(one, "/v1/traces", sent) for _, one in random.sample(list(collectors), len(collectors))])


async def _until_taken(ways: Sequence[tuple[str, str, Any]]) -> None:
    """Exporters try again, and so does this, with whichever collector answers. 404: the hold is settled already."""
    for attempt in range(200):
        address, path, body = ways[attempt % len(ways)]
        try:
            status, _ = await request(address, "POST", path, body)
            if status in (200, 404):
                return
        except OSError:
            pass
        await asyncio.sleep(0.1)


async def clients(
    collectors: Sequence[tuple[str, str]],
    count: int,
    *,
    seconds: float,
    asks: dict[str, Any],
    settles: bool,
    think: float = 0.05,
    others: Decimal = Decimal(0),
) -> Tally:
    """So many clients at once, and what they saw. `others`: what clients elsewhere may hold meanwhile."""
    tally = Tally()
    tally.may_hold(others)
    deadline = time.monotonic() + seconds
    await asyncio.gather(*(client(collectors, tally, deadline, asks=asks, settles=settles, think=think) for _ in range(count)))
    return tally


def main() -> None:
    """As a process of its own, to be killed: addresses and questions as JSON in argv."""
    told = json.loads(sys.argv[1])
    os.write(1, b"up\n")
    asyncio.run(clients(told["collectors"], told["count"], seconds=600, asks=told["asks"], settles=True, think=told["think"]))


if __name__ == "__main__":
    main()
