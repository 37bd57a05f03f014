"""Ports for servers that cannot be given port 0, or that are to come back where they were."""

import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager

#: Below those that systems hand out for port 0 and for connections: nobody gets one of these by chance while its server is away.
OURS = range(10_000, 30_000)


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on. (`random` would give each of the suite's workers the same: it is seeded.)"""
    while True:
        port = secrets.choice(OURS)
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


@contextmanager
def nobody_listens() -> Iterator[str]:
    """An HTTP address that refuses connections, whoever starts a server meanwhile: the port is taken, and nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
