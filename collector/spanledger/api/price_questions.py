"""/api/prices: questions before a call. What is in force, how many tokens, what it would cost, and where less."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request

from spanledger.api.moments import At
from spanledger.api.plain import plain
from spanledger.api.price_asking import Json, belongs_to, desk_of, range_of
from spanledger.api.price_bodies import CallBody, CompareBody, InsteadBody, TextBody, Tier
from spanledger.collector.pricing.shown import shown_cells
from spanledger.collector.pricing.traffic import instead, traffic
from spanledger.prices.cell import microseconds
from spanledger.prices.compare import ABILITIES, Compared, Wanted, compare
from spanledger.prices.tokens import count_tokens

router = APIRouter(prefix="/api/prices", tags=["prices"])


@router.get("/show", summary="What is in force for a model")
def show(
    request: Request, provider: str, model: str, at: At = None,
    service_tier: Annotated[Tier, Query()] = None, region: str | None = None, scope: str = "",
) -> Json:  # fmt: skip
    """Every rate with its dates, hours and sizes; with `at`, only those of that moment. `scope` as in a rule. `priced_as` is what
    the model is taken for at that moment, or now."""
    prices, belongs = desk_of(request).prices, belongs_to(scope)
    priced = prices.cells(provider, model, service_tier=service_tier, region=region, belongs=belongs)
    listed = prices.cells(provider, model, service_tier=service_tier, region=region, listed=True)
    instant = microseconds(at or datetime.now(UTC))
    found = next(priced.found_in(cell) for cell in priced.cells if cell.box.holds(instant, max(cell.box.over + 1, 0)))
    return {
        "provider": provider,
        "model": model,
        "revision": prices.revision,
        "priced_as": found.name if found else None,
        "price_match": found.match if found else None,
        "flags": list(found.flags) if found else [],
        "context_window": prices.context_window(provider, model),
        "rates": shown_cells(priced, at),
        "list_rates": shown_cells(listed, at),
    }


@router.post("/tokens", summary="How many tokens a text has")
def tokens(body: TextBody) -> Json:
    """Nothing leaves the collector, and the text is not kept."""
    counted = count_tokens(body.text, body.model)
    return {"tokens": counted.tokens, "least": counted.least, "most": counted.most, "method": counted.method}


@router.post("/cost", summary="What a call would cost")
def cost(request: Request, body: CallBody) -> Json:
    """What the call would get if it were posted now: cost and parts, state and reason. The counters are the ledger's
    (`input_tokens`, `cache_read_tokens`, …); a `text` is counted as input."""
    call = body.call(body.model or "")
    return {**plain(desk_of(request).prices.quote(body.provider, body.model, call)), "counters": call.counters}


@router.post("/compare", summary="The same call on other models, the cheapest first")
def compare_models(request: Request, body: CompareBody) -> Json:
    """As `/cost`, on `models` (all that the books list by default). Those come last that cannot take it, with the reason in
    `unfit`: too small a context window, none of the `abilities`, or no price for some of it."""
    wanted = Wanted(call=body.call(), abilities=frozenset(body.abilities), context_window=body.context_window)
    found = compare(desk_of(request).prices, wanted, body.models)
    return {
        "counters": wanted.call.counters,
        "of": len(found),
        "models": [shown_compared(one) for one in found[: body.top]],
        "abilities": ABILITIES,
    }


@router.post("/instead", summary="My own calls on another model")
def on_other_models(request: Request, body: InsteadBody) -> Json:
    """The calls of the range, the last 30 days by default, at the list price of each of `models`."""
    desk = desk_of(request)
    since, until = range_of(body.since, body.until, timedelta(days=30))
    with desk.read() as connection:
        calls = traffic(connection, since, until, provider=body.provider, model=body.model, tenant=body.tenant)
    found = [instead(desk.prices, calls, provider, model) for provider, model in body.models]
    shown = [{**plain(one), "difference_usd": plain(one.difference_usd)} for one in found]
    return {"since": since, "until": until, "calls": int(calls["calls"].sum()), "models": shown}


def shown_compared(one: Compared) -> Json:
    return {
        "provider": one.provider, "model": one.model, "cost_usd": plain(one.cost_usd), "cost_state": one.quote.cost_state,
        "unfit": one.unfit or one.quote.unpriced_reason, "context_window": one.context_window,
        "max_output_tokens": one.max_output_tokens, "abilities": None if one.abilities is None else sorted(one.abilities),
    }  # fmt: skip
