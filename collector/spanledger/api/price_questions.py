"""/api/prices: questions before a call. What is in force, how many tokens, what it would cost, and where less."""

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, Body, Request
from starlette.concurrency import run_in_threadpool

from spanledger.api.price_asking import Json, belongs_to, desk_of, errors, moment_in, plain
from spanledger.api.price_examples import CALL, COMPARED, INSTEAD, TEXT
from spanledger.api.problem import wrong_field
from spanledger.collector.pricing.shown import shown_cells
from spanledger.collector.pricing.traffic import instead, traffic
from spanledger.prices import Quote
from spanledger.prices.compare import ABILITIES, Compared, Wanted, compare
from spanledger.prices.meters import BY_COUNTER
from spanledger.prices.tokens import count_tokens

router = APIRouter(prefix="/api/prices", tags=["prices"])


@router.get("/show", summary="What is in force for a model")
def show(
    request: Request, provider: str, model: str, at: datetime | None = None, service_tier: str | None = None,
    region: str | None = None, scope: str = "",
) -> Json:  # fmt: skip
    """Every rate with its dates, hours and sizes; with `at`, only those of that moment. `scope` as in a rule."""
    prices = desk_of(request).prices
    belongs = belongs_to(scope)
    with errors():
        priced = prices.cells(provider, model, service_tier=service_tier, region=region, belongs=belongs)
        listed = prices.cells(provider, model, service_tier=service_tier, region=region, listed=True)
    return {
        "provider": provider,
        "model": model,
        "revision": prices.revision,
        "priced_as": f"{priced.found.provider}/{priced.found.model}" if priced.found else None,
        "price_match": priced.found.match if priced.found else None,
        "flags": list(priced.found.flags) if priced.found else [],
        "context_window": prices.context_window(provider, model),
        "rates": shown_cells(priced, at),
        "list_rates": shown_cells(listed, at),
    }


@router.post("/tokens", summary="How many tokens a text has")
def tokens(body: Json = Body(examples=[TEXT])) -> Json:  # noqa: B008
    """`{"text", "model"}`. Nothing leaves the collector, and the text is not kept."""
    text = body.get("text")
    if not isinstance(text, str):
        raise wrong_field("text", "is needed, as text")
    counted = count_tokens(text, str(body.get("model") or ""))
    return {"tokens": counted.tokens, "least": counted.least, "most": counted.most, "method": counted.method}


@router.post("/cost", summary="What a call would cost")
def cost(request: Request, body: Json = Body(examples=[CALL])) -> Json:  # noqa: B008
    """`{"provider", "model", "at", "service_tier", "region", "scope", "text", …counters}`: the counters are the ledger's
    (`input_tokens`, `cache_read_tokens`, …); a `text` is counted as input."""
    prices = desk_of(request).prices
    counters, at = _asked(body, {"provider", "model", "region"})
    with errors():
        quote = prices.quote(
            body.get("provider"), body.get("model"), at, counters,
            service_tier=body.get("service_tier"), region=body.get("region"), belongs=belongs_to(body.get("scope") or ""),
        )  # fmt: skip
    return {**shown_quote(quote), "counters": counters}


@router.post("/compare", summary="The same call on other models, the cheapest first")
def compare_models(request: Request, body: Json = Body(examples=[COMPARED])) -> Json:  # noqa: B008
    """As `/cost`, with `models` (a list of `provider/model`; all by default), `abilities` (what it must be able to do),
    `context_window` (at least) and `top`."""
    prices = desk_of(request).prices
    counters, at = _asked(body, {"models", "abilities", "context_window", "top"})
    with errors():
        wanted = Wanted(
            counters=counters, at=at, tier=body.get("service_tier"), abilities=frozenset(body.get("abilities") or ()),
            context_window=int(body.get("context_window") or 0), belongs=belongs_to(body.get("scope") or ""),
        )  # fmt: skip
        found = compare(prices, wanted, _models(body))
    top = int(body.get("top") or 20)
    return {
        "counters": counters,
        "of": len(found),
        "models": [shown_compared(one) for one in found[:top]],
        "abilities": ABILITIES,
    }


@router.post("/instead", summary="My own calls on another model")
async def on_other_models(request: Request, body: Json = Body(examples=[INSTEAD])) -> Json:  # noqa: B008
    """`{"since", "until", "provider", "model", "tenant", "models": ["provider/model", …]}`: the calls of the range, the
    last 30 days by default, at the list price of each of `models`."""
    desk = desk_of(request)
    models = _models(body)
    if not models:
        raise wrong_field("models", 'is needed: a list such as ["openai/gpt-4o-mini"]')
    with errors():
        since = moment_in(body, "since", datetime.now(UTC) - timedelta(days=30))
        until = moment_in(body, "until", datetime.now(UTC))

    def answer() -> Json:
        with desk.read() as connection:
            calls = traffic(
                connection, since, until, provider=body.get("provider"), model=body.get("model"), tenant=body.get("tenant")
            )
        found = [instead(desk.prices, calls, provider, model) for provider, model in models]
        shown = [
            {**{name: plain(getattr(one, name)) for name in one.__slots__}, "difference_usd": str(one.difference_usd)}
            for one in found
        ]
        return {"since": since, "until": until, "calls": int(calls["calls"].sum()), "models": shown}

    return await run_in_threadpool(answer)


def shown_quote(quote: Quote) -> Json:
    """A quote as JSON, money as text."""
    return {
        "cost_usd": None if quote.cost_usd is None else format(quote.cost_usd, "f"),
        "cost_state": quote.cost_state,
        "unpriced_reason": quote.unpriced_reason,
        "components": {name: format(part, "f") for name, part in (quote.components or {}).items()},
        "priced_as": quote.priced_as,
        "price_match": quote.price_match,
        "flags": list(quote.flags),
        "rules": list(quote.rules),
        "revision": quote.revision,
    }


def shown_compared(one: Compared) -> Json:
    return {
        "provider": one.provider, "model": one.model, "cost_usd": None if one.cost_usd is None else format(one.cost_usd, "f"),
        "cost_state": one.quote.cost_state, "unfit": one.unfit or one.quote.unpriced_reason,
        "context_window": one.context_window, "max_output_tokens": one.max_output_tokens,
        "abilities": None if one.abilities is None else sorted(one.abilities),
    }  # fmt: skip


def _asked(body: Json, others: set[str]) -> tuple[dict[str, float], datetime]:
    known = others | {"provider", "model", "at", "service_tier", "region", "scope", "text", "models"}
    counters: dict[str, float] = {}
    for name, value in body.items():
        if name in BY_COUNTER:
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 10**12:
                raise wrong_field(name, f"{value!r} is not a number from 0 to 10^12")
            counters[name] = value
        elif name not in known:
            raise wrong_field(name, f"is neither a field nor a counter (counters: {', '.join(BY_COUNTER)})")
    if isinstance(body.get("text"), str):
        counters["input_tokens"] = (
            counters.get("input_tokens", 0) + count_tokens(body["text"], str(body.get("model") or "")).tokens
        )
    with errors():
        return counters, moment_in(body, "at", datetime.now(UTC))


def _models(body: Json) -> list[tuple[str, str]] | None:
    models = body.get("models")
    if models is None:
        return None
    if not isinstance(models, list) or not all(isinstance(one, str) and "/" in one for one in models):
        raise wrong_field("models", 'should be a list of provider/model, such as ["openai/gpt-4o"]')
    return [(one.partition("/")[0], one.partition("/")[2]) for one in models]
