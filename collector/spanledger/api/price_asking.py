"""What the routes about prices share: the desk, ranges of time, and errors as answers."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import Request

from spanledger.api.problem import Problem, wrong_field
from spanledger.collector.pricing import PriceDesk
from spanledger.collector.pricing.books import NotAccepted
from spanledger.collector.pricing.rules import Clash
from spanledger.collector.pricing.shown import shown_difference
from spanledger.control import NotFound
from spanledger.prices.books.file import NotABook
from spanledger.prices.rule_form import RuleError, scope_of

Json = dict[str, Any]


def desk_of(request: Request) -> PriceDesk:
    desk: PriceDesk = request.app.state.collector.price_desk
    return desk


@contextmanager
def errors() -> Generator[None]:
    """What can go wrong with prices, as answers."""
    try:
        yield
    except RuleError as error:
        raise wrong_field(error.field, error.says) from None
    except NotFound as error:
        raise Problem(404, str(error), name="no-rule") from None
    except Clash as error:
        raise Problem(409, str(error), name="rules-overlap") from None
    except NotABook as error:
        raise Problem(422, str(error), name="not-a-book", errors=[{"field": "body", "message": str(error)}]) from None
    except NotAccepted as error:
        raise Problem(409, str(error), name="not-accepted", **shown_difference(error.difference)) from None


def belongs_to(scope: str) -> list[tuple[str, str]]:
    """Whom a call is for, as a rule says it."""
    with errors():
        kind, name = scope_of(scope)
    return [] if kind == "all" else [(kind, name)]


def range_of(since: datetime | None, until: datetime | None, back: timedelta = timedelta(days=30)) -> tuple[datetime, datetime]:
    """From `since`, by default so long ago, until `until`, by default now and a minute, for clocks that run ahead."""
    now = datetime.now(UTC)
    ends = until or now + timedelta(minutes=1)
    begins = since or min(now, ends) - back
    if ends <= begins:
        if until is None:
            raise wrong_field("since", f"{begins.isoformat()} is yet to come")
        raise wrong_field("until", "is not after since")
    return begins, ends


def note_in(body: Json, field: str = "note") -> str:
    """Takes the note out of a body, where it is called `field` in errors; every change of prices says why."""
    note = body.pop("note", None)
    if not isinstance(note, str) or not note.strip():
        raise wrong_field(field, "is needed: every change says why, and that stands in the audit")
    return note.strip()


def who_asks(request: Request) -> str:
    return getattr(request.state, "who", None) or "api"
