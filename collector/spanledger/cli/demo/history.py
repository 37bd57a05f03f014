"""Thirty made-up days: who called which model when, with the rhythm of working days and a slow growth.

Everything but the ids follows from the seed. One evening nine days ago an agent ran wild, so that there is something to find.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeCall:
    """One call as its span will tell it. Token counts are inclusive; `error` stands for a call that was refused."""

    provider: str
    model: str
    requested_model: str
    operation: str
    tenant: str
    project: str
    user: str
    agent: str
    session: str
    service: str
    environment: str
    started: datetime
    seconds: float
    first_token_seconds: float | None
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    error: str | None
    trace_id: bytes
    span_id: bytes


@dataclass(frozen=True, slots=True)
class _Model:
    provider: str
    requested: str
    answers_as: str
    tokens_a_second: float
    reasons: float = 0.0
    caches: bool = True


@dataclass(frozen=True, slots=True)
class _Agent:
    """`input` and `output` are medians; `cached` is the share of the input that a warm cache serves."""

    name: str
    project: str
    weight: float
    models: tuple[tuple[float, _Model], ...]
    input: int
    output: int
    turns: int
    cached: float = 0.0
    operation: str = "chat"
    streams: bool = False


# Models whose price the bundled book states by itself: the expected totals are computed from it alone, without our corrections.
_GPT_4O = _Model("openai", "gpt-4o", "gpt-4o-2024-08-06", 90)
_GPT_4O_MINI = _Model("openai", "gpt-4o-mini", "gpt-4o-mini-2024-07-18", 110)
_GPT_41 = _Model("openai", "gpt-4.1", "gpt-4.1-2025-04-14", 85)
_GPT_54_MINI = _Model("openai", "gpt-5.4-mini", "gpt-5.4-mini", 120, reasons=0.4)
_GPT_55 = _Model("openai", "gpt-5.5", "gpt-5.5", 70, reasons=0.5)
_EMBEDDING = _Model("openai", "text-embedding-3-small", "text-embedding-3-small", 1e6, caches=False)
_SONNET = _Model("anthropic", "claude-sonnet-5", "claude-sonnet-5", 75)
_HAIKU = _Model("anthropic", "claude-haiku-5-5", "claude-haiku-5-5", 130)
_OPUS = _Model("anthropic", "claude-opus-4-8", "claude-opus-4-8", 50)
_GEMINI_PRO = _Model("gcp.gemini", "gemini-3.1-pro-preview", "gemini-3.1-pro-preview", 95, reasons=0.3)
_GEMINI_FLASH = _Model("gcp.gemini", "gemini-3.6-flash", "gemini-3.6-flash", 180)
_MISTRAL = _Model("mistral_ai", "mistral-small-latest", "mistral-small-latest", 140, caches=False)
_GROK = _Model("x_ai", "grok-4", "grok-4", 55)
_HOUSE = _Model("vllm", "house-llm-70b", "house-llm-70b", 40, caches=False)  # no price book knows it

_AGENTS = (
    _Agent("support-bot", "support", 30, ((5, _GPT_4O_MINI), (3, _HAIKU), (2, _GPT_54_MINI)), 1_900, 220, 4, 0.55, streams=True),
    _Agent("code-review", "engineering", 14, ((5, _SONNET), (2, _GPT_55), (1, _OPUS)), 11_000, 850, 3, 0.7, streams=True),
    _Agent("research", "insights", 8, ((3, _GPT_55), (2, _GEMINI_PRO), (1, _OPUS)), 8_000, 1_600, 5, 0.3),
    _Agent("summarizer", "insights", 14, ((4, _GEMINI_FLASH), (2, _MISTRAL), (1, _GROK)), 4_800, 320, 1),
    _Agent("invoice-reader", "finance", 10, ((3, _GPT_4O), (2, _GPT_41)), 2_600, 380, 1, 0.25),
    _Agent("search-index", "platform", 20, ((1, _EMBEDDING),), 640, 0, 6, operation="embeddings"),
    _Agent("lab-assistant", "research", 4, ((1, _HOUSE),), 1_500, 400, 2),
)

_TENANTS = (("acme", 34, 14), ("globex", 24, 10), ("initech", 16, 8), ("umbrella", 12, 6), ("hooli", 9, 5), ("stark", 5, 3))
_WILD_TENANT, _WILD_AGENT, _WILD_DAYS_AGO = "initech", "research", 9
_ERRORS = (("429", 6), ("529", 2), ("500", 1), ("timeout", 1))


def history(now: datetime, *, days: int, calls: int, seed: int, ids: Random) -> Iterator[MadeCall]:
    """About `calls` calls of the `days` days before `now`, oldest day first, none later than a minute ago."""
    chance = Random(seed)  # noqa: S311  # made-up figures, not secrets
    since = (now - timedelta(days=days - 1)).replace(hour=0, minute=0, second=0, microsecond=0)
    weights = [_weight(since + timedelta(days=n), n) for n in range(days)]
    until = now - timedelta(minutes=1)
    # A session is a handful of calls: so many of them make the wanted number.
    turns = sum(agent.weight * (agent.turns + 1) / 2 for agent in _AGENTS) / sum(agent.weight for agent in _AGENTS)
    for number, weight in enumerate(weights):
        day = since + timedelta(days=number)
        for _ in range(round(calls * weight / sum(weights) / turns)):
            tenant, _, users = chance.choices(_TENANTS, [t[1] for t in _TENANTS])[0]
            agent = chance.choices(_AGENTS, [a.weight for a in _AGENTS])[0]
            start = day + timedelta(seconds=_second_of_day(chance))
            yield from (c for c in _session(chance, ids, start, tenant, users, agent) if c.started < until)
        if days - 1 - number == _WILD_DAYS_AGO:
            yield from _wild_evening(chance, ids, day, calls)


def _weight(day: datetime, number: int) -> float:
    rhythm = (1.0, 1.08, 1.1, 1.05, 0.9, 0.32, 0.28)[day.weekday()]
    return rhythm * 1.012**number


def _second_of_day(chance: Random) -> float:
    """Mostly working hours with a peak before noon and one after; a tenth at any time."""
    if chance.random() < 0.1:
        return chance.uniform(0, 86_399)
    centre = 10.5 if chance.random() < 0.5 else 14.8
    return min(max(chance.gauss(centre, 1.9), 0), 23.99) * 3_600


def _wild_evening(chance: Random, ids: Random, day: datetime, calls: int) -> Iterator[MadeCall]:
    agent = next(a for a in _AGENTS if a.name == _WILD_AGENT)
    for _ in range(max(1, calls // 150)):
        start = day + timedelta(hours=chance.uniform(20, 23.5))
        yield from _session(chance, ids, start, _WILD_TENANT, 1, agent)


def _session(chance: Random, ids: Random, start: datetime, tenant: str, users: int, agent: _Agent) -> Iterator[MadeCall]:
    """The calls of one conversation: one trace, the input growing from turn to turn while the cache serves more of it."""
    trace_id = ids.randbytes(16)
    session = f"{agent.name}-{trace_id.hex()[:10]}"
    user = f"{tenant}-user-{chance.randint(1, users):02}"
    environment = "production" if chance.random() < 0.93 else "staging"
    model = chance.choices([m for _, m in agent.models], [w for w, _ in agent.models])[0]
    size = agent.input * math.exp(chance.gauss(0, 0.45))
    at = start
    for turn in range(chance.randint(1, agent.turns)):
        tokens_in = max(8, round(size * (1 + 0.35 * turn)))
        error = chance.choices([e for e, _ in _ERRORS], [w for _, w in _ERRORS])[0] if chance.random() < 0.015 else None
        tokens_out = 0 if error else max(1, round(agent.output * math.exp(chance.gauss(0, 0.5)))) if agent.output else 0
        read = round(tokens_in * agent.cached * chance.uniform(0.7, 1.1)) if agent.cached and model.caches and turn else 0
        written = round((tokens_in - read) * 0.4) if model.provider == "anthropic" and agent.cached else 0
        first = chance.uniform(0.2, 0.9) + tokens_in / 60_000
        seconds = 0.4 if error else first + tokens_out / model.tokens_a_second
        yield MadeCall(
            provider=model.provider,
            model=model.answers_as,
            requested_model=model.requested,
            operation=agent.operation,
            tenant=tenant,
            project=agent.project,
            user=user,
            agent=agent.name,
            session=session,
            service=agent.name,
            environment=environment,
            started=at,
            seconds=round(seconds, 3),
            first_token_seconds=round(first, 3) if agent.streams and not error else None,
            input_tokens=0 if error else tokens_in,
            cache_read_tokens=0 if error else read,
            cache_write_tokens=0 if error else written,
            output_tokens=tokens_out,
            reasoning_tokens=round(tokens_out * model.reasons),
            error=error,
            trace_id=trace_id,
            span_id=ids.randbytes(8),
        )
        at += timedelta(seconds=seconds + chance.uniform(2, 40))
