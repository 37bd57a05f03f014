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
