"""What must be true of every row of the table."""

import pytest

from spanledger.collector.decode.decode import decode
from spanledger.collector.dialects import DIALECTS, aliases, dialect_of_scope, dialect_of_span
from spanledger.collector.dialects.fields import ATTRIBUTION, FIELDS
from spanledger.collector.dialects.meters import METERS
from spanledger.collector.recognise.recognise import recognise
from tests.dialects.bodies import INDEX, body
from tests.dialects.described import CASES
from tests.dialects.spans import body_of
from tests.dialects.table import PAGE, flags_missing, page


def test_every_dialect_is_told_by_something_and_has_a_name_of_its_own() -> None:
    assert len({dialect.name for dialect in DIALECTS}) == len(DIALECTS)
    assert all(dialect.scopes or dialect.markers for dialect in DIALECTS)


def test_every_dialect_says_where_cached_input_stands() -> None:
    assert [dialect.name for dialect in DIALECTS if not dialect.cache or not dialect.reasoning] == []


def test_every_alias_names_a_field() -> None:
    for dialect in DIALECTS:
        assert set(dialect.aliases) <= set(FIELDS), dialect.name
        assert {field for field, _ in aliases(dialect, ATTRIBUTION).values()} <= set(FIELDS)


def test_no_row_is_hidden_behind_an_earlier_one() -> None:
    for index, dialect in enumerate(DIALECTS):
        for scope in dialect.scopes:
            version = f"{dialect.versions[0]}0" if dialect.versions else "999"
            of_scope = dialect_of_scope(scope.rstrip("*"), version)
            told = {dialect_of_span(scope.rstrip("*"), version, span) for span in dialect.spans} or {of_scope}
            assert told == {index} or len(dialect.scopes) > 1, (dialect.name, scope)


@pytest.mark.parametrize(
    ("scope", "version", "dialect"),
    [
        ("logfire.anthropic", "3.25.0", "logfire-4"),
        ("logfire.anthropic", "4.9.1", "logfire-4"),
        ("logfire.anthropic", "4.30.0", "logfire-4"),
        ("logfire.anthropic", "4.31.0", "logfire"),
        ("opentelemetry.instrumentation.openai.v1", "0.9.2", "openllmetry-0.33"),
        ("opentelemetry.instrumentation.openai.v1", "0.33.12", "openllmetry-0.33"),
        ("opentelemetry.instrumentation.openai.v1", "0.34.0", "openllmetry"),
    ],
)
def test_a_row_for_old_versions_ends_with_the_one_that_mended_them(scope: str, version: str, dialect: str) -> None:
    index = dialect_of_scope(scope, version)
    assert index is not None
    assert DIALECTS[index].name == dialect


def test_every_dialect_is_shown_by_a_sample_or_a_case() -> None:
    shown = [body(sample["file"]) for sample in INDEX] + [body_of(span) for span, _ in CASES.values()]
    seen = set(recognise(decode(shown))["dialect"])
    assert {dialect.name for dialect in DIALECTS} <= seen


def test_every_metric_is_read_by_one_row() -> None:
    assert len({meter.name for meter in METERS}) == len(METERS)


def test_the_page_shows_the_table_as_it_is() -> None:
    assert PAGE.read_text() == page(), "run: python -m tests.dialects.table"
    assert flags_missing() == []
