"""What a check is answered: 200 with its hold, or 429 that says which limit refuses, how it stands and when to ask again."""

import secrets
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import orjson

from spanledger.api.problem import MEDIA_TYPE, TYPE
from spanledger.limits import Standing, Verdict
from spanledger.limits.window import SECOND, moment

JSON = "application/json"
#: The headers of most answers; always this very object.
PLAIN = {"content-type": JSON}
#: Status, headers and body.
Answered = tuple[int, dict[str, str], bytes]


class Answers:
    """Writes verdicts. What is the same from one to the next is kept as text."""

    def __init__(self) -> None:
        self._dimensions: tuple[tuple[str, ...], str] = (), "[]"
        self._second: tuple[int, str] = -1, ""

    def one(self, verdict: Verdict, looks_at: tuple[str, ...]) -> Answered:
        """The answer to one check. `looks_at` are the dimensions that some limit looks at."""
        if verdict.verdict == "allow" and verdict.lease_end is not None and not verdict.counters_away:
            return 200, PLAIN, self._allowed(verdict.hold_id, verdict.lease_end, looks_at)
        if verdict.refused:
            first = verdict.refused[0]
            headers = {"content-type": MEDIA_TYPE, "retry-after": str(first.retry_after_seconds)}
            return 429, headers | _rate_limit(verdict.refused), orjson.dumps(_refused(verdict))
        headers = PLAIN
        if verdict.warnings:
            headers = PLAIN | {"spanledger-warning": "; ".join(_ascii(w.says) for w in verdict.warnings)[:1000]}
        return 200, headers, orjson.dumps(_passed(verdict, looks_at))

    def many(self, verdicts: Sequence[Verdict], looks_at: tuple[str, ...]) -> Answered:
        """The answer to a list of checks."""
        return 200, PLAIN, orjson.dumps([_refused(v) if v.refused else _passed(v, looks_at) for v in verdicts])

    def _allowed(self, hold_id: str | None, lease_end: int, looks_at: tuple[str, ...]) -> bytes:
        """As `_passed` says it, in a third of the time."""
        known, dimensions = self._dimensions
        if looks_at is not known:
            dimensions = orjson.dumps(looks_at).decode()
            self._dimensions = looks_at, dimensions
        second, micro = divmod(lease_end, SECOND)
        last, text = self._second
        if second != last:
            text = moment(second * SECOND).strftime("%Y-%m-%dT%H:%M:%S")
            self._second = second, text
        end = f"{text}.{micro:06}+00:00" if micro else f"{text}+00:00"
        said = f'{{"verdict":"allow","hold_id":"{hold_id}","expires_at":"{end}","warnings":[],"dimensions":{dimensions}}}'
        return said.encode()


def _passed(verdict: Verdict, looks_at: tuple[str, ...]) -> dict[str, Any]:
    """The body of 200. Calls that differ in other dimensions than those that some limit looks at are alike."""
    body: dict[str, Any] = {
        "verdict": verdict.verdict,
        "hold_id": verdict.hold_id,
        "expires_at": verdict.expires_at,
        "warnings": [_standing(warning) for warning in verdict.warnings],
        "dimensions": looks_at,
    }
    if verdict.counters_away:
        body["counters_away"] = True
    return body


def _refused(verdict: Verdict) -> dict[str, Any]:
    """The body of 429: the limit that stands in the way longest, and the others in `also`."""
    first, *others = verdict.refused
    paused = first.pause_id is not None
    return {
        "type": f"{TYPE}{'paused' if paused else 'limit-reached'}",
        "title": "Paused" if paused else "A limit is reached",
        "status": 429,
        "detail": first.says,
        "verdict": "refuse",
        "request_id": secrets.token_hex(8),
        **_standing(first),
        "retry_after_seconds": first.retry_after_seconds,
        "counters_away": verdict.counters_away,
        "also": [_standing(other) for other in others],
    }


def _rate_limit(refused: Sequence[Standing]) -> dict[str, str]:
    """RateLimit headers of the IETF's draft; money is in millionths of a dollar, since quotas there are whole numbers."""
    policies, states = [], []
    for one in refused:
        name = '"' + _ascii(one.limit).replace("\\", "/").replace('"', "'") + '"'
        scale, unit = (1_000_000, ';qu="usd-millionths"') if one.measure == "cost_usd" else (1, f';qu="{one.measure}"')
        window = f";w={one.window_seconds}" if one.window_seconds else ""
        policies.append(f"{name};q={_whole(one.amount, scale)}{window}{unit}")
        reset = one.reset_seconds if one.reset_seconds is not None else one.retry_after_seconds
        states.append(f"{name};r={_whole(one.remaining, scale)};t={reset}")
    return {"ratelimit-policy": ", ".join(policies), "ratelimit": ", ".join(states)}


def _whole(amount: str, scale: int) -> int:
    """A header's number has fifteen digits at most (RFC 9651)."""
    return min(int(Decimal(amount) * scale), 10**15 - 1)


def _standing(one: Standing) -> dict[str, Any]:
    return {
        "limit": one.limit,
        "limit_id": one.limit_id,
        "scope": one.scope,
        "measure": one.measure,
        "used": one.used,
        "held": one.held,
        "amount": one.amount,
        "remaining": one.remaining,
        "requested": one.requested,
        "window_start": one.window_start,
        "window_end": one.window_end,
        "fits": one.fits,
        "price_confidence": one.price_confidence,
        "pause_id": one.pause_id,
        "says": one.says,
    }


def _ascii(text: str) -> str:
    """What a header may carry; a name of a limit may have anything in it."""
    return "".join(c if " " <= c <= "~" else " " if c.isspace() else "?" for c in text)
