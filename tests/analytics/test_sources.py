"""Sums are the same whether they are taken from entries one by one or from the roll-up."""

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from spanledger.analytics.query import Query, Source, run
from spanledger.analytics.selection import Selection
from tests.analytics.ledgers import call, in_memory

START = datetime(2026, 2, 27, 23, tzinfo=UTC)
moments = st.integers(0, 3 * 24 * 3600 * 1_000_000).map(lambda us: START + timedelta(microseconds=us))
calls = st.builds(
    lambda at, cost, tenant, model: call(cost, at=at, tenant=tenant, model=model),
    moments,
    st.sampled_from(["0", "0.000000000001", "12.5"]),
    st.sampled_from(["a", "b"]),
    st.sampled_from(["m", "n"]),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(calls, max_size=12), moments, moments, st.sampled_from([{}, {"model": ("m",)}]))
def test_any_range_has_the_same_sums_from_every_source(made: list, one: datetime, other: datetime, filters: dict) -> None:
    connection = in_memory(made or [call("1", at=START - timedelta(days=9))])
    chosen = Selection(since=min(one, other), until=max(one, other), filters=filters)
    asked: list[tuple[Query, dict]] = [
        ("totals", {}),
        ("spend_by", {"dimension": "model", "top": 1}),
        ("spend_over_time", {"dimension": "provider", "top": 5, "step": "hour"}),
        ("daily_spend", {"time_of_day": timedelta(hours=7, minutes=15)}),
    ]
    sources: list[Source] = ["selected", "summed", "summed_coarse"]
    for query, values in asked:
        answers = [run(connection, query, source, **values, **chosen.bound).to_pylist() for source in sources]
        assert answers[0] == answers[1] == answers[2]


def test_the_smallest_source_that_knows_all_is_asked() -> None:
    def source(dimension: str | None = None, **filters: tuple[str, ...]) -> Source:
        return Selection(since=START, until=START, filters=filters).source(dimension)

    assert source() == source("model") == source("provider", service=("s",)) == "summed_coarse"
    assert source("tenant") == source("model", tenant=("a",)) == "summed"
    assert source("user") == source("tag.feature") == source("tenant", session=("x",)) == "selected"
