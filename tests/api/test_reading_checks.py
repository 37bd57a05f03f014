"""Checks are read and answered by short ways of their own; they read and say just what the long ways do."""

from contextlib import suppress
from typing import Any

import msgspec
import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from spanledger.api.check_answers import Answers, _passed
from spanledger.api.checks import _read
from spanledger.api.models import CheckBody
from spanledger.limits import Check, Verdict
from spanledger.limits.window import SECOND

LONG = TypeAdapter(CheckBody)
names = st.text(max_size=5) | st.integers(998, 1_002).map(lambda n: "ü" * n)
numbers = st.integers(-2, 2) | st.sampled_from([600, 10_000, 10_001, 86_400, 86_401, 10**12, 10**12 + 1, 2**70, 1.0, 1.5, 1e3])
values: st.SearchStrategy[Any] = (
    names | numbers | st.none() | st.booleans() | st.just([]) | st.dictionaries(names, names | st.none(), max_size=2)
)
bodies = st.dictionaries(st.sampled_from([*CheckBody.model_fields, "tennant", "TENANT"]), values, max_size=4)


@settings(deadline=None, max_examples=500)
@given(bodies)
def test_what_the_short_way_takes_the_long_way_takes_alike(body: dict[str, Any]) -> None:
    written = msgspec.json.encode(body)
    with suppress(msgspec.MsgspecError):
        read = _read(written)
        assert read == Check(**LONG.validate_json(written).__dict__)


@settings(deadline=None, max_examples=200)
@given(st.fixed_dictionaries({}, optional={"tenant": names, "input_tokens": st.integers(0, 5), "tags": st.just({"a": "b"})}))
def test_the_short_way_takes_what_is_usual(body: dict[str, Any]) -> None:
    written = orjson.dumps(body)
    try:
        LONG.validate_json(written)
    except ValidationError:
        return
    assert msgspec.to_builtins(_read(written)) == {name: value for name, value in body.items() if value is not None}


@settings(deadline=None)
@given(st.integers(0, 4_000_000_000 * SECOND) | st.integers(0, 10**9).map(lambda n: n * SECOND), st.lists(names, max_size=3))
def test_the_common_answer_is_written_as_all_others_are(end: int, dimensions: list[str]) -> None:
    answers, looks_at = Answers(), tuple(dimensions)
    for later in (0, 1, SECOND):
        verdict = Verdict("allow", "3f0c2d6a9b1e4c7f8a5d2e1b0c9f8e7d", end + later)
        status, headers, body = answers.one(verdict, looks_at)
        assert (status, headers) == (200, {"content-type": "application/json"})
        assert body == orjson.dumps(_passed(verdict, looks_at))
