"""/api/prices: the rules and the books."""

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, Body, Request, Response
from starlette.concurrency import run_in_threadpool

from spanledger.api import price_past, price_questions
from spanledger.api.price_asking import Json, desk_of, errors, who_asks
from spanledger.api.price_examples import CHANGE, RULE
from spanledger.api.problem import wrong_field
from spanledger.collector.pricing import PriceDesk
from spanledger.collector.pricing.queries import rows
from spanledger.collector.pricing.shown import shown_difference, shown_rule

_rules = APIRouter(prefix="/api/prices", tags=["prices"])


@_rules.get("", summary="The rules over the books, and the books")
def all_prices(request: Request) -> Json:
    desk = desk_of(request)
    return {
        "revision": desk.prices.revision,
        "books": desk.books.rows(),
        "waiting": None if (book := desk.books.waiting()) is None else {"name": book.name, "version": book.version},
        "rules": [shown_rule(row) for row in desk.rules.in_force()],
    }


@_rules.post("", status_code=201, summary="Put rules in force")
def create(request: Request, response: Response, body: Json = Body(examples=[RULE])) -> Json:  # noqa: B008
    """One rule, or `{"rules": [...]}`: all or none. `reason` goes into the audit; `supersede` names the rule whose place
    it takes from its `valid_from` on. A rule gives `rates` by unit (`{"input_mtok": "2.50"}`), a `multiplier`, `same_as`
    another model, or `monthly_usd`."""
    desk = desk_of(request)
    body = dict(body)
    why, supersede = body.pop("reason", None), body.pop("supersede", "") or ""
    several = body.pop("rules", None)
    if several is not None and (body or not isinstance(several, list) or not all(isinstance(one, dict) for one in several)):
        raise wrong_field("rules", "should be a list of rules, alone")
    with errors():
        made = desk.make([body] if several is None else several, who=who_asks(request), why=why, supersede=supersede)
    shown = [shown_rule(row) for row in made]
    if several is not None:
        return {"rules": shown}
    response.headers["location"] = f"/api/prices/{shown[0]['id']}"
    return {**shown[0], "unpriced": _waiting(desk, shown[0])}


@_rules.post("/books/diff", summary="How a file of prices differs from the book in use")
async def diff(request: Request, version: str = "", installed: bool = False) -> Json:
    """The body is the file: genai-prices' data.json, LiteLLM's or models.dev's map, gzipped or not. With `installed` it is the
    book of the installed genai-prices instead."""
    content = None if installed else await request.body()
    with errors():
        return shown_difference(await run_in_threadpool(desk_of(request).compare_book, content, version))


@_rules.post("/books", status_code=201, summary="Use a file of prices")
async def load(
    request: Request, version: str = "", accept: bool = False, reason: str = "", installed: bool = False
) -> Json:  # fmt: skip
    """The body is the file; with `installed` it is the book of the installed genai-prices instead. Refused with what moves
    when a rate moves more than tenfold or to or from zero, unless `accept` is true."""
    content = None if installed else await request.body()
    desk = desk_of(request)
    with errors():
        found = await run_in_threadpool(desk.load_book, content, version, accept=accept, who=who_asks(request), note=reason)
    return {"revision": desk.prices.revision, **shown_difference(found)}


@_rules.delete("/books/{name}", summary="Stop using a loaded book")
def drop(name: str, request: Request, reason: str = "") -> Json:
    """`genai-prices` goes back to the installed one."""
    desk = desk_of(request)
    desk.drop_book(name, who=who_asks(request), note=reason)
    return {"revision": desk.prices.revision}


@_rules.get("/{rule_id}", summary="One rule")
def one(rule_id: str, request: Request) -> Json:
    with errors():
        return shown_rule(desk_of(request).rules.get(rule_id))


@_rules.patch("/{rule_id}", summary="Put a changed rule in the place of one")
def change(rule_id: str, request: Request, body: Json = Body(examples=[CHANGE])) -> Json:  # noqa: B008
    """The rule itself stays as it was, superseded; the answer is the one in its place. `reason` goes into the audit."""
    fields = dict(body)
    why = fields.pop("reason", None)
    with errors():
        return shown_rule(desk_of(request).change(rule_id, fields, who=who_asks(request), why=why))


@_rules.get("/{rule_id}/history", summary="A rule and all it came from")
def history(rule_id: str, request: Request) -> Json:
    with errors():
        found = desk_of(request).rules.history(rule_id)
    return {"history": [{**shown_rule(row), "audit": row["audit"]} for row in found]}


def _waiting(desk: PriceDesk, rule: Json) -> Json | None:
    """Unpriced calls of the last ninety days that a new rule may price: what re-rating would take up."""
    now = datetime.now(UTC)
    with desk.read() as connection:
        found = rows(connection, "unpriced", since=now - timedelta(days=90), until=now, count=1000)
    pattern = str(rule["model"]).lower()

    def covered(model: str) -> bool:
        return model.startswith(pattern[:-1]) if pattern.endswith("*") else model == pattern

    mine = [one for one in found if one["model"] and covered(one["model"].lower())]
    if not mine:
        return None
    return {
        "calls": sum(one["calls"] for one in mine),
        "since": min(one["first_at"] for one in mine),
        "hint": "POST /api/prices/rerate with unpriced_only prices them",
    }


# The fixed names come before `/{rule_id}`, which would take them for rules.
router = APIRouter()
for part in (price_questions.router, price_past.router, _rules):
    router.include_router(part)
