"""Which tier served a call, in one spelling, from what the provider's answer said."""

STANDARD = "standard"
BATCH = "batch"

#: As providers and instrumentations spell it → the tier. What is absent is a tier of its own, for which there is a
#: rate or there is not.
TIERS: dict[str, str] = {
    "": STANDARD, "auto": STANDARD, "default": STANDARD, "standard": STANDARD, "standard_only": STANDARD,
    "on_demand": STANDARD, "on-demand": STANDARD, "ondemand": STANDARD, "none": STANDARD, "null": STANDARD,
    "service_tier_unspecified": STANDARD, "traffic_type_unspecified": STANDARD,
    "batch": BATCH, "batches": BATCH,
    "flex": "flex", "on_demand_flex": "flex",
    "priority": "priority", "on_demand_priority": "priority",
    "fast": "fast",
}  # fmt: skip


def tier_of(service_tier: str | None, batch: bool | None = None) -> str:
    """The tier in one spelling; batch processing is a tier, whatever else was asked for."""
    if batch:
        return BATCH
    spelled = (service_tier or "").strip().lower()
    return TIERS.get(spelled, spelled)


#: Those that providers are known to have; a rule for any other would wait for calls that never come.
KNOWN = (
    STANDARD, BATCH, "flex", "priority", "fast", "ultrafast", "balanced", "scale", "reserved",
    "search:fast", "search:web", "route:mistral/eu",
)  # fmt: skip


def known_tier(text: str | None) -> str | None:
    """The tier in one spelling, or None where none is given. Raises `ValueError` for one that no provider is known to have."""
    if text is None or text == "":
        return None
    tier = tier_of(str(text))
    if tier not in KNOWN:
        raise ValueError(f"{text!r} is none of {', '.join(KNOWN)}")
    return tier
