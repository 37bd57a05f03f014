"""Whoever sends a request too slowly is cut off; whoever waits for an answer is not."""

import socket
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from tests.api.running import running

CHECK = b"POST /api/checks HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
LIMIT = {"name": "one", "measure": "requests", "amount": "1", "window": {"kind": "rolling", "seconds": 3600}, "hard": True}
#: Sent, and never continued.
BEGUN = {
    "nothing": b"",
    "a byte": b"P",
    "half a line": b"GET /api/lim",
    "half a head": b"GET /api/limits HTTP/1.1\r\nhost: x\r\n",
    "half the head of a check": CHECK,
    "half the body of a check": CHECK + b"content-length: 100\r\n\r\n{",
    "half a body": b"POST /api/limits HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
    "half a chunk": b"POST /api/limits HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{",
    "half a second request": b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nGET /hea",
}


def test_slow_requests_are_cut_and_slow_answers_are_not(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("extensions: {api: {read_header_timeout: 1s, read_timeout: 1s}}\n")
    with running(tmp_path / "data", [LIMIT], file=file) as server:
        host, port = (url := urlsplit(server.url)).hostname, url.port
        slow: dict[str, socket.socket] = {}
        for name, begun in BEGUN.items():
            slow[name] = socket.create_connection((host or "", port or 0), timeout=60)
            slow[name].sendall(begun)
        assert server.client.post("/api/checks", json={}).status_code == 200
        waited = server.client.post("/api/checks", json={"wait_ms": 2_000})
        assert (waited.status_code, waited.headers["content-type"]) == (429, "application/problem+json")
        for name, connection in slow.items():
            answered = b""
            with suppress(ConnectionResetError):  # a time-out of this socket is a failure
                while more := connection.recv(65_536):
                    answered += more
            assert answered.startswith(b"HTTP/1.1 200 OK") == (name == "half a second request"), (name, answered)
            connection.close()
        assert server.client.get("/healthz").status_code == 200
