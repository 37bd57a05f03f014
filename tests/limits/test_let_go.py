"""What a collector remembers of holds that Redis may have though nobody has them."""

import pytest

from spanledger.limits.counters import let_go
from spanledger.limits.counters.let_go import LetGo


def test_redis_is_told_once_and_another_one_again_and_a_long_hang_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(let_go, "MOST", 3)
    held = LetGo()
    for number in range(5):
        held.add(f"hold {number}")
    assert held.untold() == ["hold 2", "hold 3", "hold 4"]
    held.told(["hold 0", "hold 3"])
    assert (held.untold(), held.all()) == (["hold 2", "hold 4"], ["hold 2", "hold 3", "hold 4"])
    monkeypatch.setattr(let_go, "KNOWN_SECONDS", -1.0)
    assert (held.untold(), held.all()) == (["hold 2", "hold 4"],) * 2
