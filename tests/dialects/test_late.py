"""What belongs to a call and comes an hour before or after it, wherever from, changes no sum: across batches, restarts and
memory that has let go of what came first."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from spanledger.collector.count import evidence_files
from spanledger.collector.count.count_once import Counting, CountOnce
from spanledger.collector.count.older import LedgerEvidence
from spanledger.collector.decode.decode import decode
from spanledger.collector.received import Received
from spanledger.collector.recognise.recognise import recognise
from spanledger.ledger.connect import connect
from spanledger.ledger.frame import conform, frame_of
from spanledger.ledger.table import Ledger
from tests.dialects.bodies import NOW
from tests.dialects.counting import entries_of, prices
from tests.dialects.spans import Log, Span, body_of, chat, logs_of

#: What the inner record knows, and the outer one.
_READ = {"gen_ai.usage.cache_read.input_tokens": 600}
_WHO = {"spanledger.tenant": "acme"}
_EVENT = "gen_ai.client.inference.operation.details"
#: Shortly before the first of what comes in turn, and before the last, which is after memory let go of the first.
_RAN, _LATER = 3_590_000, 3_600_000 + 55 * 60_000


def _outer(service: str, **more: str) -> Received:
    return body_of(_span(service, "framework", "o", {**_WHO, **more}, end=300))


def _span(service: str, scope: str, span: str, attributes: Mapping[str, object], *, parent: str = "", end: float = 290) -> Span:
    trace = service if parent or span == "o" else f"{service} of its own"
    return chat(
        service=service, scope=scope, trace=trace, id=span, parent=parent, start=0 if span == "o" else 20, end=end,
        attributes=attributes,
    )  # fmt: skip


def _said(service: str, *, inside: str = "") -> Received:
    attributes = {**chat().attributes, **_READ}
    log = Log(scope="client", event=_EVENT, service=service, attributes=attributes, at=290, trace=service if inside else "",
              inside=inside)  # fmt: skip
    return logs_of(log)


#: where the inner record comes from → what wraps the call, and what made it
PAIRS: dict[str, tuple[Received, Received]] = {
    "the same trace": (
        _outer("the same trace"),
        body_of(_span("the same trace", "client", "i", _READ, parent="o")),
    ),
    "another trace": (
        _outer("another trace"),
        body_of(_span("another trace", "client", "i", _READ)),
    ),
    "another process": (
        _outer("another process", **{"anthropic.request.id": "req_011CQx7"}),
        body_of(_span("another process's server", "client", "i", {**_READ, "anthropic.request.id": "req_011CQx7"})),
    ),
    "another process in the trace": (
        _outer("another process in the trace"),
        body_of(chat(service="another process in the trace, below", scope="client", trace="another process in the trace",
                     id="i", parent="o", start=20, end=290, attributes=_READ)),
    ),
    "another signal": (_outer("another signal"), _said("another signal")),
    "another signal in the span": (_outer("another signal in the span"), _said("another signal in the span", inside="o")),
}  # fmt: skip


def _in_turn(folder: Path, first: list[Received], then: list[Received], how: str) -> pl.DataFrame:
    """The entries of a ledger that is given one, and an hour later the other."""
    ledger, older = Ledger.open(folder / "entries"), LedgerEvidence(str(folder / "entries"))
    counting = Counting(rows=4) if "forgotten" in how else Counting()
    counter = CountOnce(counting, folder=folder / "evidence", older=older)
    others = [body_of(*(chat(n, 7, trace=f"other {n}", id="x", service="elsewhere") for n in range(20)))]
    for mark, (bodies, later) in enumerate(((first, 0), (others, 30), (then, 60)), start=1):
        if mark == 3 and "restart" in how:
            counter = CountOnce(counting, folder=folder / "evidence", mark=mark - 1, older=older)
        entries = prices().price(counter.count(recognise(decode(bodies)), now=NOW + timedelta(minutes=later), mark=mark))
        ledger.post(conform(entries), mark)
        counter.posted(mark, entries)
    with connect(folder) as connection:
        return frame_of(connection.sql("select * from entries where service <> 'elsewhere'").to_arrow_table())


@pytest.mark.parametrize("how", ["kept in memory", "after a restart", "forgotten", "forgotten, after a restart"])
@pytest.mark.parametrize("first", ["the wrapper", "the call"])
def test_a_wrapper_an_hour_before_or_after_its_call_and_wherever_from_is_the_same_call(
    first: str, how: str, tmp_path: Path
) -> None:
    wrappers, inner = ([pair[at] for pair in PAIRS.values()] for at in (0, 1))
    early, late = (wrappers, inner) if first == "the wrapper" else (inner, wrappers)
    entries = _in_turn(tmp_path, early, late, how.replace("a restart", "restart"))
    of_pair = pl.coalesce(
        pl.when(pl.col("service").str.starts_with(place)).then(pl.lit(place)) for place in sorted(PAIRS, key=len, reverse=True)
    )
    (alone,) = prices().price(entries_of([[body_of(chat(attributes=_READ))]]))["cost_usd"].to_list()
    found = entries.group_by(of_pair.alias("place")).agg(
        pl.col("calls", "input_tokens", "cache_read_tokens", "output_tokens", "cost_usd").sum(),
        # The tenant is known by the wrapper alone, and in the end every call is the tenant's.
        pl.col("calls").filter(pl.col("tenant") == "acme").sum().alias("of_acme"),
    )
    assert {row[0]: row[1:] for row in found.iter_rows()} == dict.fromkeys(PAIRS, (1, 1000, 600, 200, alone, 1))
    _explained(entries)


def _explained(entries: pl.DataFrame) -> None:
    """Whatever does not count names its rule and the entry that stands for it, and that entry is in the ledger."""
    others = entries.filter(pl.col("kind") != "call")
    assert others.height
    assert others["rule"].null_count() == 0
    assert others["stands_for"].is_in(entries["entry_id"].implode()).all()


def test_what_comes_together_is_a_call_and_a_duplicate_and_nothing_is_reversed(tmp_path: Path) -> None:
    entries = entries_of([[each for pair in PAIRS.values() for each in pair]])
    assert sorted(entries["kind"]) == ["call"] * len(PAIRS) + ["duplicate"] * len(PAIRS)
    assert entries.filter(pl.col("kind") == "duplicate").select(
        pl.col("calls").sum(), pl.col("input_tokens").sum(), pl.col("claimed_input_tokens").sum()
    ).rows() == [(0, 0, 1000 * len(PAIRS))]  # fmt: skip
    _explained(entries)


#: what tools brought, and what compactions took, is told by one record of these calls alone
_LESS_TOLD: dict[str, tuple[Received, Received]] = {
    "gemini-cli": (
        logs_of(Log(scope="gemini-cli", service="gemini-cli", event="gemini_cli.api_response", at=290, attributes={
            "event.name": "gemini_cli.api_response", "model": "gemini-2.5-flash", "input_token_count": 1000,
            "output_token_count": 72, "thoughts_token_count": 128, "tool_token_count": 90, "duration_ms": 290})),
        logs_of(Log(scope="gemini-cli", service="gemini-cli", event=_EVENT, at=290, attributes={
            "event.name": _EVENT, "gen_ai.request.model": "gemini-2.5-flash", "gen_ai.usage.input_tokens": 1000,
            "gen_ai.usage.output_tokens": 72, "gen_ai.response.id": "kJ8xaNTo1Z"})),
    ),
    "compacted": (
        body_of(Span(scope="com.anthropic.sdk.python", service="compacted", trace="inner", id="i", start=20, end=290, attributes={
            **chat(1000, 200, attributes={"gen_ai.request.model": "claude-sonnet-4-5"}).attributes,
            "gen_ai.provider.name": "anthropic", "anthropic.usage.compaction.input_tokens": 90,
            "anthropic.usage.compaction.output_tokens": 90})),
        body_of(Span(scope="openinference.instrumentation.langchain", service="compacted", trace="outer", id="o", end=300,
            attributes={"openinference.span.kind": "LLM", "llm.model_name": "claude-sonnet-4-5",
                        "llm.token_count.prompt": 1000, "llm.token_count.completion": 200})),
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", ["forgotten", "forgotten, after a restart"])
@pytest.mark.parametrize("first", [0, 1])
def test_a_record_that_leaves_out_some_tokens_of_a_call_of_which_only_the_ledger_knows_is_no_second_call(
    first: int, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence_files, "MOST_FILES", 2)
    early, late = ([pair[at] for pair in _LESS_TOLD.values()] for at in (first, 1 - first))
    entries = _in_turn(tmp_path, early, late, how.replace("a restart", "restart"))
    found = entries.group_by("service").agg(pl.col("calls", "input_tokens", "output_tokens").sum()).sort("service")
    assert found.rows() == [("compacted", 1, 1090, 290), ("gemini-cli", 1, 1090, 200)]
    _explained(entries)


@pytest.mark.parametrize("how", ["kept in memory", "forgotten", "forgotten, after a restart"])
def test_what_its_provider_takes_back_an_hour_later_is_taken_back(how: str, tmp_path: Path) -> None:
    def told(text: str, event: str, at: float, **more: object) -> Received:
        ids = {"cursor.event.id": event, "cursor.usage_event.id": "usage-event-1", "cursor.model.name": "gpt-4o-mini"}
        return logs_of(Log(scope="cursor.telemetry", text=text, service="cursor", at=at, attributes={**ids, **more}))

    counts = {f"cursor.api.request.{name}_tokens": 9 for name in ("input", "output", "cache_read", "cache_creation")}
    request = told("api_request", "1", _RAN, **counts)
    kind = {"cursor.api.correction.kind": "not_billed_errored"}
    correction = told("api_correction_not_billed_errored", "2", _LATER, **kind)
    orders = ((request, correction), (correction, request)) if how == "forgotten" else ((request, correction),)
    for number, (first, then) in enumerate(orders):
        entries = _in_turn(tmp_path / str(number), [first], [then], how.replace("a restart", "restart"))
        assert entries.select(pl.col("calls", "input_tokens", "output_tokens").sum()).row(0) == (1, 0, 0)


@pytest.mark.parametrize("how", ["kept in memory", "forgotten", "forgotten and merged, after a restart"])
def test_an_answer_that_a_cache_plays_again_an_hour_later_is_no_second_call(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "merged" in how:
        monkeypatch.setattr(evidence_files, "MOST_FILES", 2)
    answers = ("chatcmpl-AbCdEf0123456789", "chatcmpl-123")
    first, again = (
        [body_of(*(chat(trace=f"{answer} {start}", id="x", start=start, end=start + 50, service="app",
                        attributes={"gen_ai.response.id": answer}) for answer in answers))]
        for start in (_RAN, _LATER)
    )  # fmt: skip
    entries = _in_turn(tmp_path, first, again, how.replace("a restart", "restart"))
    # What a local server hands out again and again proves nothing.
    assert entries.group_by("response_id").agg(pl.col("calls").sum()).sort("calls").rows() == [(answers[0], 1), (answers[1], 2)]
    _explained(entries)


def test_of_equal_calls_only_those_that_ran_at_the_same_time_are_looked_up(tmp_path: Path) -> None:
    calls = [chat(scope="client", trace=f"call {n}", start=n * 10_000, end=n * 10_000 + 290) for n in range(30)]
    entries = prices().price(entries_of([[body_of(*calls)]]))
    Ledger.open(tmp_path / "entries").post(conform(entries), 1)
    late = recognise(decode([body_of(chat(scope="framework", trace="late", start=50_000, end=50_300))]))
    found = LedgerEvidence(str(tmp_path / "entries")).find(
        late, since=NOW - timedelta(days=1), horizon=late["started"][0] + 10**8
    )
    assert found.height == 1


def test_an_answer_that_is_played_again_and_again_is_looked_up_once(tmp_path: Path) -> None:
    class Asked(LedgerEvidence):
        times = 0

        def named(self, records: pl.DataFrame, *, since: datetime, came: tuple[datetime, datetime] | None) -> pl.DataFrame:
            Asked.times += 1
            return super().named(records, since=since, came=came)

    ledger = Ledger.open(tmp_path / "entries")
    counter = CountOnce(Counting(rows=40), older=Asked(str(tmp_path / "entries")))
    others = [chat(n, 7, trace=f"other {n}", id="x", service="elsewhere", start=_RAN, end=_RAN + 9) for n in range(60)]
    for turn in range(6):
        at = _RAN + turn * 60_000
        answer = chat(trace=str(turn), start=at, end=at + 50, attributes={"gen_ai.response.id": "chatcmpl-AbCdEf0123456789"})
        batch = recognise(decode([body_of(answer, *(others if turn == 0 else ()))]))
        entries = prices().price(counter.count(batch, now=NOW + timedelta(minutes=turn), mark=turn + 1))
        ledger.post(conform(entries), turn + 1)
        counter.posted(turn + 1, entries)
        assert entries.filter(pl.col("service") == "app")["calls"].sum() == (turn == 0)
    assert Asked.times == 1
