"""Bugs of ours never reach the application, whatever the client; and nothing of a call is kept when it is over."""

import gc
from collections.abc import Callable
from typing import Any

import pytest

from spanledger.instrumentation import harmless, instrument, uninstrument
from spanledger.instrumentation.answer import Answer
from spanledger.instrumentation.call import open_calls
from tests.clients.styles import Spans, told
from tests.clients.test_guard import CALLS, each_call


@each_call
def test_a_reader_that_raises_changes_nothing(
    call: Callable[[str], Any], url: str, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPANLEDGER_RAISE_INTERNAL_ERRORS")
    monkeypatch.setattr(harmless, "_told", set())
    uninstrument()
    alone = told(call(url))

    def broken(*_: Any) -> None:
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr(Answer, "finish", broken)
    monkeypatch.setattr(Answer, "say", broken)
    instrument()
    assert told(call(url)) == alone
    gc.collect()
    spans.one()


@pytest.mark.parametrize(
    "call", [call for call in CALLS if "stream" in call.__name__], ids=lambda call: call.__name__.strip("_").replace("_", " ")
)
def test_nothing_is_kept_of_calls_that_are_over(call: Callable[[str], Any], url: str, spans: Spans) -> None:
    def ours() -> int:
        # A client that is dropped unclosed goes in several rounds, and takes what its last responses hold with it.
        while gc.collect():
            pass
        return sum(str(type(thing).__module__).startswith("spanledger.instrumentation") for thing in gc.get_objects())

    for _ in range(5):
        call(url)
    before = ours()
    for _ in range(20):
        call(url)
    spans.clear()
    # Each call has five objects of ours: a hundred if all were kept, up to thirty of clients that are not gone yet.
    assert ours() - before <= 30
    assert len(open_calls) == 0
