"""/api/prices: the rules and the books. Every change says why in `note`, and leaves who and why in the audit."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import BeforeValidator
from starlette.concurrency import run_in_threadpool

from spanledger.api import price_past, price_questions
from spanledger.api.models import whole
from spanledger.api.paging import After, Count, page
from spanledger.api.price_asking import Json, desk_of, errors, note_in, who_asks
from spanledger.api.price_bodies import CHANGE, RULE, Note
from spanledger.api.problem import Problem, wrong_field
from spanledger.collector.pricing.offer import offer
from spanledger.collector.pricing.shown import shown_difference, shown_rule
from spanledger.collector.pricing.unheard import unheard

_rules = APIRouter(prefix="/api/prices", tags=["prices"])
NewRule = Annotated[Json, BeforeValidator(whole), Body(examples=[RULE])]
ChangedRule = Annotated[Json, BeforeValidator(whole), Body(examples=[CHANGE])]
Why = Annotated[Note, Query(min_length=1)]


@_rules.get("", summary="The rules over the books, and the books")
def all_prices(
    request: Request, provider: str | None = None, model: str | None = None, scope: str | None = None, layer: str | None = None,
    after: After = None, count: Count = 200,
) -> Json:  # fmt: skip
    """Rules that are in force or will be, the oldest first; further parameters filter them, as they are written."""
    desk = desk_of(request)
    wanted = {"provider": provider, "model": model, "scope": scope, "layer": layer}
    found = [row for row in desk.rules.in_force() if all(value in (None, row[name]) for name, value in wanted.items())]
    shown, following = page(found, lambda row: str(row["id"]), after, count)
    waiting = desk.books.waiting()
    return {
        "revision": desk.prices.revision,
        "books": desk.books.rows(),
        "waiting": None if waiting is None else {"name": waiting.name, "version": waiting.version},
        "rules": [shown_rule(row) for row in shown],
        "next": following,
    }


@_rules.post("", status_code=201, summary="Put rules in force")
def create(request: Request, response: Response, body: NewRule) -> Json:
    """One rule, or `{"rules": [...]}`: all or none. A rule gives `rates` by unit (`{"input_mtok": "2.50"}`), a `multiplier`,
    `same_as` another model, or `monthly_usd`, and says why in `note`; of several rules those without a note have that of the
    body. `supersede` names the rule whose place it takes from its `valid_from` on. Of several, those that say what a rule in
    force says already change nothing and are counted in `unchanged`. Of one, the answer says in `unpriced` which calls without
    a price it could price, and in `notice` where it multiplies what nobody has a price of."""
    several = body.get("rules")
    if several is not None:
        return _create_all(request, dict(body))
    desk, form = desk_of(request), dict(body)
    supersede, note = str(form.pop("supersede", None) or ""), note_in(form)
    with errors():
        [row] = desk.make([{**form, "note": note}], who=who_asks(request), why=note, supersede=supersede)
        unpriced = offer(desk, row)
    response.headers["location"] = f"/api/prices/{row['id']}"
    return {**shown_rule(row), "unpriced": unpriced, "notice": unheard(desk.prices.layers, row)}


def _create_all(request: Request, body: Json) -> Json:
    desk, rules = desk_of(request), body.pop("rules")
    common = body.pop("note", None)
    if body or not isinstance(rules, list) or not all(isinstance(one, dict) for one in rules):
        raise wrong_field("rules", "should be a list of rules, alone or with a note for all of them")
    forms = [
        {**one, "note": note_in({"note": one.get("note") or common}, f"rules[{number}].note")} for number, one in enumerate(rules)
    ]
    with errors():
        made = desk.make(forms, who=who_asks(request), why=common, again=True)
    return {"rules": [shown_rule(row) for row in made], "unchanged": len(forms) - len(made)}


@_rules.post("/books/diff", summary="How a file of prices differs from the book in use")
async def diff(request: Request, version: str = "", installed: bool = False) -> Json:
    """The body is the file: genai-prices' data.json, LiteLLM's or models.dev's map, gzipped or not. With `installed` it is the
    book of the installed genai-prices instead."""
    content = None if installed else await request.body()
    with errors():
        return shown_difference(await run_in_threadpool(desk_of(request).compare_book, content, version))


@_rules.post("/books", status_code=201, summary="Use a file of prices")
async def load(request: Request, note: Why, version: str = "", accept: bool = False, installed: bool = False) -> Json:
    """The body is the file; with `installed` it is the book of the installed genai-prices instead. Refused with what moves
    when a rate moves more than tenfold or to or from zero, unless `accept` is true."""
    content = None if installed else await request.body()
    desk = desk_of(request)
    with errors():
        found = await run_in_threadpool(desk.load_book, content, version, accept=accept, who=who_asks(request), note=note)
    return {"revision": desk.prices.revision, **shown_difference(found)}


@_rules.delete("/books/{name}", summary="Stop using a loaded book")
def drop(name: str, request: Request, note: Why) -> Json:
    """`genai-prices` goes back to the installed one."""
    desk = desk_of(request)
    loaded = [row["name"] for row in desk.books.rows() if row["in_use"]]
    if name not in loaded:
        raise Problem(404, f"no book {name!r} is in use; there is {', '.join(loaded)}", name="no-book")
    desk.drop_book(name, who=who_asks(request), note=note)
    return {"revision": desk.prices.revision}


@_rules.get("/{rule_id}", summary="One rule")
def one(rule_id: str, request: Request) -> Json:
    with errors():
        return shown_rule(desk_of(request).rules.get(rule_id))


@_rules.patch("/{rule_id}", summary="Put a changed rule in the place of one")
def change(rule_id: str, request: Request, body: ChangedRule) -> Json:
    """The rule itself stays as it was, superseded; the answer is the one in its place, with the `note` of this change. Where
    nothing changes, the rule stays in force, and the `note` is one more line in its history."""
    fields: dict[str, Any] = dict(body)
    note = note_in(fields)
    with errors():
        return shown_rule(desk_of(request).change(rule_id, {**fields, "note": note}, who=who_asks(request), why=note))


@_rules.get("/{rule_id}/history", summary="A rule and all it came from")
def history(rule_id: str, request: Request, after: After = None, count: Count = 100) -> Json:
    """The newest first, each with what the audit says of it: when, who, what was done, and why."""
    with errors():
        found = desk_of(request).rules.history(rule_id)
    shown, following = page(found, lambda row: str(row["id"]), after, count)
    return {"history": [{**shown_rule(row), "audit": row["audit"]} for row in shown], "next": following}


# The fixed names come before `/{rule_id}`, which would take them for rules.
router = APIRouter()
for part in (price_questions.router, price_past.router, _rules):
    router.include_router(part)
