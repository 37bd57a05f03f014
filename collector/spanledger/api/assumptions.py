"""What was assumed about how emitters count cached input, with the configuration line that settles each."""

import dataclasses
from typing import Any

from fastapi import APIRouter, Request

from spanledger.api.paging import After, Count, page
from spanledger.collector.recognise.assumptions import assumed
from spanledger.ledger.connect import connect

router = APIRouter(prefix="/api", tags=["costs"])


@router.get("/assumptions", summary="What is assumed, not known, about the emitters of calls")
def assumptions(request: Request, after: After = None, count: Count = 200) -> dict[str, Any]:
    """Scope, version, provider, calls, and `line` for processors.recognise.cached_input; the most frequent first.

    `taken` says whether their cached input is taken to be inside or outside of their input, `seen` what other records of
    their calls show, null if nothing does. Once settled, new calls are read as the line says; those that are
    in the ledger stay as they were counted, and stay listed.
    """
    with connect(request.app.state.collector.data, damaged="leave out") as connection:
        found, following = page(assumed(connection), lambda one: f"{one.scope} {one.version} {one.provider}", after, count)
    return {"assumptions": [{**dataclasses.asdict(one), "line": one.line} for one in found], "next": following}
