"""Metrics make calls where nothing better tells of them, by what they grew, however their points are cut and sent."""

from collections.abc import Mapping
from itertools import permutations
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl
import pytest

from spanledger.collector.received import Received
from tests.dialects.bodies import body, received
from tests.dialects.counting import entries_of
from tests.dialects.spans import attributes

_CUMULATIVE, _DELTA = 2, 1


def _metric(
    name: str,
    at: float,
    count: int,
    total: float,
    temporality: int,
    *,
    since: float | None = None,
    told: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    said = {"gen_ai.request.model": "gpt-4o", "gen_ai.system": "openai", "gen_ai.operation.name": "chat", **told}
    began, ended = ("1" if moment is None else str(1_795_000_000 * 10**9 + round(moment * 10**9)) for moment in (since, at))
    point = {"startTimeUnixNano": began, "timeUnixNano": ended, "count": str(count), "sum": total, "attributes": attributes(said)}
    return {"name": name, "histogram": {"aggregationTemporality": temporality, "dataPoints": [point]}}


def _tokens(kind: str, at: int, count: int, total: float, temporality: int = _CUMULATIVE) -> dict[str, Any]:
    return _metric("gen_ai.client.token.usage", at, count, total, temporality, told={"gen_ai.token.type": kind})


def _moment(at: int, calls: int, counted: int, read: int, written: int, temporality: int = _CUMULATIVE) -> list[dict[str, Any]]:
    """What an SDK sends at one moment: how many calls there were, and the tokens of those whose tokens it knows."""
    return [
        _metric("gen_ai.client.operation.duration", at, calls, 9.5, temporality),
        _tokens("input", at, counted, read, temporality),
        _tokens("output", at, counted, written, temporality),
    ]


def _sent(*metrics: dict[str, Any]) -> Received:
    scoped = {"scope": {"name": "x"}, "metrics": list(metrics)}
    return received({"resourceMetrics": [{"resource": {}, "scopeMetrics": [scoped]}]}, "metrics")


def _sum(batches: list[list[Received]]) -> tuple[int, int, int]:
    (row,) = entries_of(batches).select(pl.col("calls", "input_tokens", "output_tokens").sum()).rows()
    return row


def test_a_total_that_grows_is_counted_by_its_growth_and_a_reset_begins_anew() -> None:
    points = [_sent(_tokens("input", *point)) for point in ((0, 2, 100), (60, 2, 100), (120, 5, 400), (180, 1, 30))]
    for order in (points, [points[2], points[0], points[3], points[1]]):
        assert _sum([[each] for each in order]) == (6, 430, 0)


def test_totals_of_processes_that_share_a_name_are_told_apart_by_when_they_began() -> None:
    """One that began anew counts more than before at once; two replicas speak in turn."""

    def at(moment: float, since: float, calls: int) -> Received:
        # What is written is seen first a little later than what is read.
        return _sent(*(_metric("gen_ai.client.token.usage", moment, calls, 100 * calls, _CUMULATIVE, since=since + later,
                               told={"gen_ai.token.type": kind}) for kind, later in (("input", 0), ("output", 0.2))))  # fmt: skip

    anew = [at(60, 1, 1), at(200, 100, 2)]
    replicas = [at(60, 1, 3), at(67, 2, 1), at(120, 1, 4), at(127, 2, 2), at(180, 1, 4), at(187, 2, 2)]
    for points, calls in ((anew, 3), (replicas, 6)):
        for order in (points, points[::-1]):
            assert _sum([[each] for each in order]) == (calls, 100 * calls, 100 * calls)


@pytest.mark.parametrize("temporality", [_CUMULATIVE, _DELTA])
def test_metrics_of_one_collection_are_one_though_each_has_looked_at_the_clock(temporality: int) -> None:
    """As those of the SDKs for Go and .NET have."""
    usage, duration = "gen_ai.client.token.usage", "gen_ai.client.operation.duration"
    points = [
        metric
        for at, calls in ((0, 1), (0.04, 2), (60, 3))
        for metric in (
            _metric(usage, at, calls, 100 * calls, temporality, told={"gen_ai.token.type": "input"}),
            _metric(duration, at + 3e-6, calls, 1.5 * calls, temporality),
        )
    ]
    calls = 3 if temporality == _CUMULATIVE else 6
    for order in (points, points[::-1]):
        entries = entries_of([[_sent(each)] for each in order])
        assert entries.select(pl.col("calls", "input_tokens").sum()).row(0) == (calls, 100 * calls)
        assert not entries["flags"].list.contains("usage_unknown").any()


@pytest.mark.parametrize(("temporality", "due"), [(_CUMULATIVE, (7, 150, 15)), (_DELTA, (12, 250, 25))])
@pytest.mark.parametrize("cut", ["one request", "a request a moment", "a request a point", "points shuffled", "sent again"])
def test_metrics_of_one_moment_are_one_however_their_points_are_cut_and_sent(
    cut: str, temporality: int, due: tuple[int, int, int]
) -> None:
    first, second = _moment(0, 5, 3, 100, 10, temporality), _moment(60, 7, 4, 150, 15, temporality)
    batches = {
        "one request": [[[*first, *second]]],
        "a request a moment": [[first], [second]],
        "a request a point": [[[point]] for point in (*first, *second)],
        "points shuffled": [[[point]] for point in (second[2], first[1], second[0], first[2], second[1], first[0])],
        "sent again": [[first, first], [second], [second, first]],
    }[cut]
    assert _sum([[_sent(*request) for request in batch] for batch in batches]) == due


@pytest.mark.parametrize("bad", ["NaN", -5, "Infinity", 1e300])
def test_a_sum_of_tokens_that_is_none_is_left_out_and_its_calls_are_flagged(bad: Any) -> None:
    for others in ([], [_tokens("output", 0, 0, 0.0)]):
        (call,) = entries_of([[_sent(_tokens("input", 0, 1, bad), *others)]]).to_dicts()
        assert (call["kind"], call["calls"], call["input_tokens"]) == ("call", 1, None)
        assert "tokens_invalid" in call["flags"]


def test_a_series_that_says_nothing_new_leaves_nothing() -> None:
    points = [_sent(_tokens("input", at, 2, 100)) for at in (0, 60, 120)]
    for batches in ([points], [[each] for each in points]):
        assert entries_of(batches).select("kind", "calls", "input_tokens").rows() == [("call", 2, 100)]
    assert entries_of([[_sent(_tokens("output", 0, 0, 0.0))]]).is_empty()


def test_points_that_differ_in_what_no_series_is_told_by_are_added() -> None:
    usage = "gen_ai.client.inference.usage.input_tokens"
    by_modality = [_metric(usage, 0, 1, total, _DELTA, told={"gen_ai.token.modality": kind}) for kind, total in
                   (("text", 70), ("audio", 30), ("image", 30))]  # fmt: skip
    for order in permutations(by_modality):
        assert _sum([[_sent(*order), _sent(*order)]])[1] == 130


def test_metrics_of_an_emitter_that_sends_spans_are_never_counted_even_after_a_restart(tmp_path: Path) -> None:
    stem = "otel_genai_openai_1_3b0"
    for order in (("traces", "metrics"), ("metrics", "traces")):
        entries = entries_of([[body(f"{stem}.{signal}.json")] for signal in order], folder=tmp_path / order[0])
        calls = entries.filter(pl.col("kind") == "call")
        assert set(calls["granularity"]) == {"call"}
        # What they say is there to be laid beside the calls, and names one of them.
        said = entries.filter(pl.col("rule") == "metric")
        assert said.select("claimed_input_tokens", "claimed_output_tokens").sum().rows() == [(3012, 600)]
        assert said["stands_for"].is_in(calls["entry_id"].implode()).all()


def test_calls_that_no_metric_counts_are_flagged_and_those_that_another_one_counts_are_not() -> None:
    def sent(*metrics: tuple[str, str, int]) -> Received:
        """Counters, and one histogram of durations."""
        found = []
        for name, kind, value in metrics:
            metric = _metric(name, 60, value, value, _CUMULATIVE, told={"gen_ai.token.type": kind})
            (point,) = metric["histogram"]["dataPoints"]
            if "duration" not in name:
                point = {"startTimeUnixNano": "1", "timeUnixNano": point["timeUnixNano"], "asInt": str(value),
                         "attributes": point["attributes"]}  # fmt: skip
                metric = {"name": name, "sum": {"aggregationTemporality": _CUMULATIVE, "dataPoints": [point]}}
            found.append(metric)
        return _sent(*found)

    spring = sent(("gen_ai.client.token.usage", "input", 900), ("gen_ai.client.token.usage", "output", 90))
    usage = [(f"gen_ai.client.inference.usage.{name}_tokens", "", count) for name, count in (("input", 900), ("output", 90))]
    timed = sent(*usage, ("gen_ai.client.inference.operation.duration", "", 3))
    cached = sent(*usage, ("gen_ai.client.inference.usage.cache_read.input_tokens", "", 500))
    told = [entries_of([[each]]).select("calls", "input_tokens", "flags").rows() for each in (spring, timed, cached)]
    unknown, lost = "calls_unknown", "detail_lost"
    raised = [(calls, read, {unknown, lost} & set(flags)) for ((calls, read, flags),) in told]
    assert raised == [(1, 900, {unknown, lost}), (3, 900, {lost}), (1, 900, {unknown})]


def test_metrics_of_embeddings_as_spring_ai_calls_them_make_calls() -> None:
    told = {"gen_ai.token.type": "input", "gen_ai.operation.name": "embedding"}
    (entry,) = entries_of([[_sent(_metric("gen_ai.client.token.usage", 60, 2, 24, _CUMULATIVE, told=told))]]).to_dicts()
    assert (entry["calls"], entry["input_tokens"], entry["operation"]) == (2, 24, "embeddings")
