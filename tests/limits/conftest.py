"""What tests of shared limits start from."""

from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.limits.collectors import Collectors
from tests.limits.made import Clock
from tests.limits.redis_server import RedisServer


@pytest.fixture
def both(tmp_path: Path) -> Generator[Collectors]:
    (tmp_path / "redis").mkdir()
    server = RedisServer(tmp_path / "redis", keeps=False)
    try:
        made = Collectors(tmp_path, server, Clock(datetime.now(UTC)))
        yield made
        made.one.close()
        made.two.close()
    finally:
        server.kill()
