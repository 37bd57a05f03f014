"""What nobody counted is estimated from what it is made of."""

import time

from hypothesis import given
from hypothesis import strategies as st

from spanledger.instrumentation.estimate import LONGEST, answer_tokens, input_tokens, tokens


def test_texts_of_known_size_are_estimated_within_a_fifth() -> None:
    # Counted with o200k by the tokenizer of the package splintr-rs 0.9.
    for text, counted in KNOWN:
        assert abs(tokens(text) / counted - 1) < 0.2, (text[:40], tokens(text), counted)


KNOWN = (
    (
        "Every call is one call however many spans, instrumentations, retries and re-deliveries describe it. "
        "What was suppressed is visible, with its reason. The price in force at the time of the call is used.",
        44,
    ),
    ('{"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 100, "temperature": 0.5}', 41),
    ("def add(first: int, second: int) -> int:\n    return first + second\n\n\nprint(add(1, 2))\n", 27),
)


@given(st.text(max_size=400), st.text(max_size=400))
def test_a_longer_text_is_never_fewer_tokens(a: str, b: str) -> None:
    assert 0 <= tokens(a) <= tokens(a + " " + b) + 2


@given(
    st.recursive(
        st.text() | st.integers() | st.none() | st.binary(max_size=20), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
    )
)
def test_any_body_has_a_size(value: object) -> None:
    size = input_tokens({"messages": [value], "system": "s"})
    assert size is not None
    assert size >= 1


def test_long_texts_are_measured_on_pieces_and_come_out_alike() -> None:
    text = "The ledger counts every call once, whoever describes it. " * 2_000
    assert abs(tokens(text) / (tokens(text[:LONGEST]) * len(text) / LONGEST) - 1) < 0.05
    began = time.thread_time()
    tokens(text * 100)
    assert time.thread_time() - began < 1


def test_an_iterator_of_messages_is_not_looked_into() -> None:
    messages = iter([{"role": "user", "content": "hi"}])
    assert input_tokens({"messages": messages}) is None
    assert next(messages)


def test_an_answer_is_at_least_its_pieces() -> None:
    assert answer_tokens(10, 12) == 10
    assert answer_tokens(1, 420) == 100
