"""What tests of shared limits start from."""

from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from spanledger.limits.counters import redis_script
from tests.limits.collectors import Collectors
from tests.limits.made import Clock
from tests.limits.redis_server import RedisServer


@pytest.fixture(autouse=True, scope="module")
def _patient() -> Generator[None]:
    """A machine that stands still for a second or two is no Redis that is away; where one hangs, the test sets its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis_script, "CONNECT_SECONDS", 60.0)
        patch.setattr(redis_script, "ANSWER_SECONDS", 60.0)
        yield


@pytest.fixture
def both(tmp_path: Path) -> Generator[Collectors]:
    (tmp_path / "redis").mkdir()
    server = RedisServer(tmp_path / "redis", keeps=False)
    # Not before limits are made, which they are by the real clock; and no day may end while a test turns this one on.
    tomorrow = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) + timedelta(days=1)
    try:
        made = Collectors(tmp_path, server, Clock(tomorrow))
        yield made
        made.one.close()
        made.two.close()
    finally:
        server.kill()
