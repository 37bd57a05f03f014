"""/api/keys: who may use the API. A key's secret is in the answer that makes it, and nowhere else."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field

from spanledger.api.limit_examples import KEY, answers, answers_page
from spanledger.api.models import Body, Name
from spanledger.api.moments import Moment
from spanledger.api.paging import After, Count, page
from spanledger.api.problem import wrong_field
from spanledger.control.keys import Key, Keys

router = APIRouter(prefix="/api/keys", tags=["keys"])


class KeyBody(Body):
    """A key to make."""

    name: Name
    roles: Annotated[list[str], Field(description="some of ingest, check, read, admin", examples=[["check"]])]
    tenant: Annotated[Name | None, Field(description="the only tenant it may speak for")] = None
    expires_at: Moment = None
    reason: Name | None = None


@router.get("", summary="All keys, without their secrets", responses=answers_page("keys", KEY))
def all_keys(request: Request, after: After = None, count: Count = 1_000) -> dict[str, Any]:
    found, following = page(_keys(request).all(), lambda key: key.id, after, count)
    return {"keys": [_shown(key) for key in found], "next": following}


@router.post("", status_code=201, summary="Make a key", responses=answers({**KEY, "secret": "slk_DIUosf0d…"}, 201))
def create(body: KeyBody, request: Request) -> dict[str, Any]:
    """The answer has the key in `secret`; it cannot be shown again."""
    expires: datetime | None = body.expires_at
    try:
        key, secret = _keys(request).create(
            body.name, body.roles, who=request.state.caller.name, tenant=body.tenant, expires_at=expires, why=body.reason
        )
    except ValueError as error:
        field, _, text = str(error).partition(": ")
        raise wrong_field(field, text) from None
    return {**_shown(key), "secret": secret}


@router.delete("/{key_id}", summary="Revoke a key", responses=answers({**KEY, "revoked_at": "2026-11-26T09:00:00Z"}))
def revoke(key_id: str, request: Request, reason: str | None = None) -> dict[str, Any]:
    return _shown(_keys(request).revoke(key_id, who=request.state.caller.name, why=reason))


def _shown(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "roles": sorted(key.roles),
        "tenant": key.tenant,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "last_used_at": key.last_used_at,
    }


def _keys(request: Request) -> Keys:
    keys: Keys = request.app.state.keys
    return keys
