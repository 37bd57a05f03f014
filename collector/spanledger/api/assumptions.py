"""What the ledger cannot know by itself: what was assumed about emitters, and of which calls no telemetry came."""

import dataclasses
from typing import Any

from fastapi import APIRouter, Request

from spanledger.api.paging import After, Count, page
from spanledger.collector.count.missing import missing
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


@router.get("/missing", summary="What agents claim beyond the calls that were counted below them")
def missing_calls(request: Request, after: After = None, count: Count = 200) -> dict[str, Any]:
    """Scope, version, service, traces, tokens that are missing, a trace among them, and `line`: what to do; most traces first.

    Of the last seven days. The largest sum of a trace is laid beside all calls in it; what came in the last five minutes may
    still be followed by its calls.
    """
    with connect(request.app.state.collector.data, damaged="leave out") as connection:
        found, following = page(missing(connection), lambda one: f"{one.scope} {one.version} {one.service}", after, count)
    return {"missing": [{**dataclasses.asdict(one), "line": one.line} for one in found], "next": following}
