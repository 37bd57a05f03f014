"""What the routes about prices take, as OpenAPI shows it."""

from typing import Any

#: Bodies by route; what each may hold besides is in the route's description.
RULE: dict[str, Any] = {
    "provider": "openai",
    "model": "gpt-4o",
    "layer": "contract",
    "scope": "tenant:acme",
    "rates": {"input_mtok": "2.00", "output_mtok": "8.00"},
    "valid_from": "2026-12-01T00:00:00Z",
    "reason": "contract of December",
}
CHANGE: dict[str, Any] = {"rates": {"input_mtok": "1.80", "output_mtok": "7.20"}, "reason": "volume discount"}
RERATING: dict[str, Any] = {"since": "2026-11-01T00:00:00Z", "model": "gpt-4o", "post": False}
TEXT: dict[str, Any] = {"text": "How many tokens is this?", "model": "gpt-4o"}
CALL: dict[str, Any] = {"provider": "openai", "model": "gpt-4o", "input_tokens": 1200, "output_tokens": 300}
COMPARED: dict[str, Any] = {"input_tokens": 1200, "output_tokens": 300, "context_window": 100_000, "top": 5}
INSTEAD: dict[str, Any] = {"models": ["openai/gpt-4o-mini"]}
