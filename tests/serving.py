"""An HTTP server on loopback that says one thing."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def answering(body: bytes, *, path: str = "", key: str = "", status: int = 200) -> Generator[str]:
    """Its URL; it gives this body and status for everything (or one path), to whoever has the key, and ends with the block."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = not key or self.headers["authorization"] == f"Bearer {key}"
            self.send_response((status if path in ("", self.path) else 404) if allowed else 401)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
