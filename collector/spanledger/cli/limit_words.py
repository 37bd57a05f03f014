"""Limits as people read them on the command line."""

from typing import Any


def amount(limit: dict[str, Any], field: str) -> str:
    return measured(limit, limit[field])


def measured(limit: dict[str, Any], units: str | None) -> str:
    if units is None:
        return "not known"
    if limit["measure"] != "cost_usd":
        return f"{int(units):,}"
    whole, _, rest = units.partition(".")
    return f"${int(whole):,}.{rest:0<2}"


def share(one: dict[str, Any]) -> str:
    return "" if one["fraction"] is None else f"{one['fraction']:.0%}"


def window(limit: dict[str, Any]) -> str:
    from spanledger.limits.window import window_of

    return str(window_of(limit["window"]))


def kind(limit: dict[str, Any]) -> str:
    hardness = ("hard" if limit["hard"] else "soft") + ("" if limit["action"] in ("refuse", "warn") else f", {limit['action']}")
    return hardness if limit["enabled"] else "off"
