"""A check API on loopback that keeps to the contract of ARCHITECTURE.md, with a budget of calls."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

REFUSAL = {
    "type": "https://spanledger.dev/problems/limit-reached",
    "title": "A limit is reached",
    "status": 429,
    "detail": "tenant acme has used 9.99 of 10.00 USD in this day",
    "limit": "acme a day",
    "limit_id": "lim_1",
    "scope": {"tenant": "acme"},
    "measure": "cost_usd",
    "used": "9.99",
    "held": "0.01",
    "amount": "10.00",
    "requested": "0.02",
    "window_end": "2026-11-26T00:00:00Z",
    "retry_after_seconds": 3600,
}


PACED = {"type": "https://spanledger.dev/problems/too-many-requests", "status": 429, "detail": "more than 3 requests a second"}


class CheckApi:
    """`allowed` checks pass, the next is refused, and so are `refused` models; `asked` and `told` keep what came in.

    The first `paced` come too often. It answers after `wait_seconds`, and not before `until` is set.
    """

    def __init__(
        self,
        *,
        allowed: int = 1_000,
        status: int | None = None,
        wait_seconds: float = 0.0,
        until: threading.Event | None = None,
        refused: tuple[str, ...] = (),
        paced: int = 0,
    ) -> None:
        self.asked: list[dict[str, Any]] = []
        self.told: list[tuple[str, str, Any]] = []
        self.authorization: list[str | None] = []
        self.connections: set[Any] = set()
        self.lock = threading.Lock()
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Headers and body leave as two packets; without this the second waits for the client's delayed ack.
            disable_nagle_algorithm = True

            def log_message(self, *_: Any) -> None:
                pass

            def _answer(self, status: int, document: Any) -> None:
                body = b"" if document is None else json.dumps(document).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                document = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if self.path != "/api/checks":
                    api.told.append(("POST", self.path, document))
                    self._answer(200, {})
                    return
                api.connections.add(self.client_address)
                with api.lock:
                    api.asked.append(document)
                    number = len(api.asked)
                api.authorization.append(self.headers.get("authorization"))
                time.sleep(wait_seconds)
                if until is not None:
                    until.wait(60)
                if status is not None:
                    self._answer(status, {"title": "no"})
                elif number <= paced:
                    self._answer(429, PACED)
                elif number > allowed or document.get("model") in refused:
                    self._answer(429, REFUSAL)
                else:
                    hold = f"hold-{number}"
                    answer = {"verdict": "allow", "hold_id": hold, "expires_at": "2030-01-01T00:00:00Z", "warnings": []}
                    self._answer(200, {**answer, "dimensions": ["tenant"]})

            def do_DELETE(self) -> None:
                api.told.append(("DELETE", self.path, None))
                self._answer(204, None)

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that gave up waiting is part of the tests."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def wait_for(self, what: tuple[str, str, Any]) -> None:
        """Until this was told about a hold."""
        deadline = time.monotonic() + 60
        while what not in self.told:
            assert time.monotonic() < deadline, (what, self.told)
            time.sleep(0.01)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
