"""What POST /api/checks answers, as OpenAPI shows it."""

from typing import Any

_HEADERS = {
    "Retry-After": "seconds until it is worth asking again",
    "RateLimit-Policy": "the limits that refuse, as the IETF's draft writes them; money in millionths of a dollar",
    "RateLimit": "what is left of them, and the seconds until they renew",
}

PASSED: dict[str, Any] = {
    "verdict": "allow",
    "hold_id": "3f0c2d6a9b1e4c7f8a5d2e1b0c9f8e7d",
    "expires_at": "2026-11-25T12:10:00+00:00",
    "warnings": [],
    "dimensions": ["tenant", "user"],
}
REFUSED: dict[str, Any] = {
    "type": "https://spanledger.dev/problems/limit-reached",
    "title": "A limit is reached",
    "status": 429,
    "detail": "'acme per month' (calendar month, tenant=acme): $499.90 used and $0.0988 held of $500; the call may take $0.008, "
    "and $0.0012 is free",
    "verdict": "refuse",
    "request_id": "9c41d7a2b0e3f586",
    "limit": "acme per month",
    "limit_id": "lim_0f1e2d3c4b5a6978",
    "scope": "tenant=acme",
    "measure": "cost_usd",
    "used": "499.9",
    "held": "0.0988",
    "amount": "500",
    "remaining": "0.0012",
    "requested": "0.008",
    "window_start": "2026-11-01T00:00:00+00:00",
    "window_end": "2026-12-01T00:00:00+00:00",
    "fits": {"cost_usd": "0.0012", "max_output_tokens": "0"},
    "price_confidence": "priced",
    "pause_id": None,
    "says": "…",
    "retry_after_seconds": 471600,
    "counters_away": False,
    "also": [],
}
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "It may; `hold_id` goes into the span attribute `spanledger.hold.id`",
        "content": {"application/json": {"example": PASSED}},
    },
    429: {
        "description": "A limit is reached: which, how it stands, and when to ask again",
        "headers": {name: {"description": says, "schema": {"type": "string"}} for name, says in _HEADERS.items()},
        "content": {"application/problem+json": {"example": REFUSED}},
    },
}
