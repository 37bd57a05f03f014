"""ETags: a change may say which state it is based on, and is refused when that is gone."""

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from fastapi import Header

from spanledger.api.problem import Problem

IfMatch = Annotated[str | None, Header(description="the ETag that the change is based on")]


def etag_of(fields: Mapping[str, Any]) -> str:
    """A strong ETag of what can be written."""
    return f'"{hashlib.sha256(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]}"'


def unchanged(fields: Mapping[str, Any], if_match: str | None) -> None:
    """Raises `Problem` 412 when it is not (any more) as one of the ETags in `If-Match` says."""
    if if_match is None:
        return
    etag = etag_of(fields)
    if not {"*", etag} & {given.strip() for given in if_match.split(",")}:
        raise Problem(412, f"{fields['name']!r} was changed meanwhile; read it again", name="changed", headers={"etag": etag})
