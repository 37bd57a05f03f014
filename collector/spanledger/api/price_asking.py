"""What the routes about prices share: the desk, how a request says when and for whom, and errors as answers."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from fastapi import Request

from spanledger.api.problem import Problem, wrong_field
from spanledger.collector.pricing import PriceDesk
from spanledger.collector.pricing.books import NotAccepted
from spanledger.collector.pricing.rules import Clash
from spanledger.collector.pricing.shown import shown_difference
from spanledger.control import NotFound
from spanledger.prices.book_file import NotABook
from spanledger.prices.rule_form import RuleError, moment_of, scope_of

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
        raise Problem(422, str(error), name="not-a-book") from None
    except NotAccepted as error:
        raise Problem(409, str(error), name="not-accepted", **shown_difference(error.difference)) from None
    except ValueError as error:
        field, colon, says = str(error).partition(": ")
        raise wrong_field(field if colon else "body", says or str(error)) from None


def belongs_to(scope: str) -> list[tuple[str, str]]:
    with errors():
        kind, value = scope_of(scope)
    return [] if kind == "all" else [(kind, value)]


def range_of(since: datetime | None, until: datetime | None) -> tuple[datetime, datetime]:
    now = datetime.now(UTC)
    since, until = aware("since", since or now - timedelta(days=30)), aware("until", until or now + timedelta(minutes=1))
    if until <= since:
        raise wrong_field("until", "is not after since")
    return since, until


def aware(field: str, at: datetime) -> datetime:
    if at.tzinfo is None:
        raise wrong_field(field, "needs an offset or Z, such as 2026-11-01T00:00:00Z")
    return at.astimezone(UTC)


def moment_in(body: Json, field: str, default: datetime) -> datetime:
    return moment_of(field, body.get(field)) or default


def plain(value: Any) -> Any:
    """Decimals as text, in whatever they stand."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value


def who_asks(request: Request) -> str:
    return getattr(request.state, "who", None) or "api"
