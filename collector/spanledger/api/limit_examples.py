"""What the endpoints of limits, tiers, pauses, grants, keys and the audit answer, as OpenAPI shows it. A test compares each
with what is really answered."""

from typing import Any

_WINDOW = {"window_start": "2026-10-31T23:00:00Z", "window_end": "2026-11-30T23:00:00Z", "resets_in_seconds": 442620}
_STANDS = {"used": "1.6", "held": "0.008", "amount": "525", "remaining": "523.392", "fraction": 0.003063}
_BUCKET = {"subject": {"user": "u-17"}, "scope": "tenant=acme user=u-17", **_STANDS, **_WINDOW}

LIMIT: dict[str, Any] = {
    "id": "lim_03dfc9bddcc179ec",
    "name": "acme per month",
    "description": None,
    "selectors": {"tenant": ["acme"]},
    "per": ["user"],
    "measure": "cost_usd",
    "amount": "500",
    "window": {"kind": "calendar", "unit": "month", "zone": "Europe/Berlin"},
    "hard": True,
    "enabled": True,
    "action": "refuse",
    "grace": "0",
    "thresholds": ["0.8", "1"],
    "pause_at": "1.1",
    "unpriced": "allow",
    "ceiling_usd_per_mtok": None,
    "on_failure": "open",
    "hold": "worst_case",
    "quantile": "0.95",
    "hold_amount": None,
    "overshoot": None,
    "rollover": "0",
    "tier": None,
    "valid_from": None,
    "valid_to": None,
    "source": "api",
    "scope": "tenant=acme user=*",
    "overshoot_bound": {
        "amount": "0",
        "says": "every call is held at the most it can come to",
        "rests_on": ["every call is checked (one that was not counts when its span arrives, and makes later checks refuse)"],
    },
    **{name: _STANDS[name] for name in ("used", "held", "remaining", "fraction")},
    "window_end": _WINDOW["window_end"],
    "bucket_count": 1,
    "buckets": [_BUCKET],
}
USAGE: dict[str, Any] = {
    "subject": {"tenant": "acme", "user": "u-17"},
    "limits": [{"limit": "acme per month", "limit_id": LIMIT["id"], "measure": "cost_usd", "hard": True, **_BUCKET}],
    "pauses": [],
}
BACKTEST: dict[str, Any] = {
    "limit": "acme per month",
    "since": "2026-10-26T20:03:00Z",
    "until": "2026-11-25T20:03:00Z",
    "calls": 1204,
    "covered": 310,
    "warned": 12,
    "refused": 2,
    "refused_unpriced": 0,
    "cost_usd": "501.600000000000",
    "saved_usd": "0.800000000000",
    "buckets": [
        {
            "scope": "tenant=acme user=u-17",
            "window_start": "2026-10-31T23:00:00Z",
            "warned": 12,
            "refused": 2,
            "first_refused_at": "2026-11-25T20:02:59.764173Z",
            "last_refused_at": "2026-11-25T20:02:59.901220Z",
            "saved_usd": "0.800000000000",
        }
    ],
}
TIER: dict[str, Any] = {
    "id": "tier_9569c0eb2ada4ea9",
    "name": "pro",
    "dimension": "tenant",
    "is_default": False,
    "members": ["acme", "beta-*"],
    "description": None,
    "source": "api",
}
PAUSE: dict[str, Any] = {
    "id": "pause_bcab522d2a1ae018",
    "selectors": {"tenant": ["acme"], "agent": ["crawler"]},
    "reason": "runaway",
    "limit_id": None,
    "since": "2026-11-25T20:03:00.088330Z",
    "until": None,
}
GRANT: dict[str, Any] = {
    "id": "grant_62c35ed0dcf1c05c",
    "limit_id": LIMIT["id"],
    "limit": "acme per month",
    "kind": "top_up",
    "subject": {"user": "u-17"},
    "amount": "25",
    "valid_from": "2026-11-25T20:03:00.080036Z",
    "expires_at": "2026-11-30T23:00:00Z",
    "reason": "paid",
}
RESET: dict[str, Any] = {"limit_id": LIMIT["id"], "subject": {"user": "u-17"}, "forgotten": "1.6"}
CHANGE: dict[str, Any] = {
    "id": "c0432034fcd843ca9c8637d0823e474a",
    "at": "2026-11-25T20:03:00.088408Z",
    "who": "key operations (key_5f1c0e9a7b3d2c41)",
    "action": "insert",
    "table_name": "pauses",
    "row_id": PAUSE["id"],
    "was": None,
    "is": PAUSE,
    "why": "runaway",
}
KEY: dict[str, Any] = {
    "id": "key_e9a64083d36d2205",
    "name": "checkout",
    "prefix": "slk_DIUosf0d",
    "roles": ["check"],
    "tenant": "acme",
    "created_at": "2026-11-25T20:03:00.167779Z",
    "expires_at": None,
    "revoked_at": None,
    "last_used_at": None,
}


def answers(example: dict[str, Any], status: int = 200) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`."""
    return {status: {"content": {"application/json": {"example": example}}}}


def answers_page(name: str, example: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    """The same for a page of a list."""
    return answers({name: [example], "next": None})
