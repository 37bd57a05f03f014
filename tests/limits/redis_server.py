"""A real Redis on a free port, to be killed and started again."""

import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import redis

from tests.ports import free_port

MISSING = "redis-server is not installed: `apt-get install redis-server` (Debian, Ubuntu) or `brew install redis`"


class RedisServer:
    def __init__(self, folder: Path, *, keeps: bool = True, cluster: bool = False) -> None:
        if shutil.which("redis-server") is None:
            pytest.skip(MISSING)
        self._folder, self._keeps, self._cluster = folder, keeps, cluster
        self._process: subprocess.Popen[bytes] | None = None
        self.port, self.bus = free_port(), free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        settings = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder), "--save", ""]
        # Synced every second, it would hold back what it has acknowledged while a slow disk is at it: a kill would lose that.
        settings += ["--appendonly", "yes" if self._keeps else "no", "--appendfsync", "no"]
        if self._cluster:
            settings += ["--cluster-enabled", "yes", "--cluster-port", str(self.bus), "--cluster-node-timeout", "1000"]
        self._process = subprocess.Popen(["redis-server", *settings], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        with redis.Redis(port=self.port, socket_connect_timeout=1) as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.RedisError:
                    if time.monotonic() > deadline or self._process.poll() is not None:
                        raise
                    time.sleep(0.02)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def keep(self) -> None:
        """Starts anew, empty, and from now on outlives what kills it."""
        self._keeps = True
        self.kill()
        self.start()

    def pause(self) -> None:
        """It takes connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
