"""/api/tiers: named sets of limits, and who is in which."""

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from spanledger.api.etags import IfMatch, etag_of, unchanged
from spanledger.api.limit_examples import TIER, answers, answers_page
from spanledger.api.models import Body, Name
from spanledger.api.paging import After, Count, page
from spanledger.api.problem import Problem
from spanledger.limits import Limits
from spanledger.limits.expects import Expects
from spanledger.limits.terms import tier_row

router = APIRouter(prefix="/api/tiers", tags=["tiers"])
Members = Annotated[Any, Field(description="values of the dimension; `abc*` is a prefix", examples=[["acme", "beta-*"]])]


class TierBody(Body):
    """A tier. Each value of its dimension is in one tier: by name, by longest prefix, or in the default one."""

    name: Any = None
    dimension: Any = None
    is_default: Any = None
    members: Members = None
    description: Name | None = None
    reason: str | None = None


class MembersBody(Body):
    """Whom to move into a tier."""

    members: Members
    reason: str | None = None


@router.get("", summary="All tiers", responses=answers_page("tiers", TIER))
def tiers(request: Request, after: After = None, count: Count = 200) -> dict[str, Any]:
    """By name."""
    found, following = page(_limits(request).admin.tiers(), lambda tier: tier.name, after, count)
    return {"tiers": [tier_row(tier) for tier in found], "next": following}


@router.post("", status_code=201, summary="Add a tier", responses=answers(TIER, 201))
def create_tier(body: TierBody, request: Request, response: Response) -> dict[str, Any]:
    given = body.model_dump(exclude_unset=True, exclude={"reason"})
    made = tier_row(_limits(request).admin.put_tier(given, who=_who(request), why=body.reason))
    response.headers["location"] = f"/api/tiers/{made['id']}"
    response.headers["etag"] = etag_of(made)
    return made


@router.get("/{tier_id}", summary="One tier", responses=answers(TIER))
def one_tier(tier_id: str, request: Request, response: Response) -> dict[str, Any]:
    found = _found(request, tier_id)
    response.headers["etag"] = etag_of(found)
    return found


@router.patch("/{tier_id}", summary="Change a tier", responses=answers(TIER))
def change_tier(tier_id: str, body: TierBody, request: Request, response: Response, if_match: IfMatch = None) -> dict[str, Any]:
    """Limits of the tier count anew: whoever joins takes what they have used along."""
    given = body.model_dump(exclude_unset=True, exclude={"reason"})
    admin, expects = _limits(request).admin, _expects(if_match)
    changed = tier_row(admin.put_tier(given, tier_id=tier_id, who=_who(request), why=body.reason, expects=expects))
    response.headers["etag"] = etag_of(changed)
    return changed


@router.post("/{tier_id}/members", summary="Move values into a tier", responses=answers(TIER))
def move(tier_id: str, body: MembersBody, request: Request, response: Response, if_match: IfMatch = None) -> dict[str, Any]:
    """Out of whichever tier of its dimension they are in by name, in one change: at no moment are they under neither, or both."""
    admin, expects = _limits(request).admin, _expects(if_match)
    moved = tier_row(admin.move(body.members, tier_id, who=_who(request), why=body.reason, expects=expects))
    response.headers["etag"] = etag_of(moved)
    return moved


@router.delete("/{tier_id}", status_code=204, summary="Remove a tier that no limit is of")
def delete_tier(tier_id: str, request: Request, reason: str | None = None, if_match: IfMatch = None) -> None:
    _limits(request).admin.delete_tier(tier_id, who=_who(request), why=reason, expects=_expects(if_match))


def _found(request: Request, tier_id: str) -> dict[str, Any]:
    for tier in _limits(request).admin.tiers():
        if tier.id == tier_id:
            return tier_row(tier)
    raise Problem(404, f"there is no tier {tier_id!r}", name="not-found")


def _expects(if_match: str | None) -> Expects:
    return lambda tier: unchanged(tier_row(tier), if_match)


def _limits(request: Request) -> Limits:
    limits: Limits = request.app.state.collector.limits
    return limits


def _who(request: Request) -> str:
    return str(request.state.caller.name)
