"""How large a call may become: what a hold must set aside for it, priced by the same cells as the ledger."""

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from spanledger.limits.check import Check
from spanledger.limits.limit import Limit
from spanledger.limits.tally import ceiling_of

#: What is assumed of a call whose size nobody gives and whose model nobody knows.
ASSUMED_INPUT_TOKENS = 1_000
ASSUMED_OUTPUT_TOKENS = 4_096


class Pricing(Protocol):
    """What limits ask of the price book."""

    def most(
        self,
        *,
        provider: str | None,
        model: str | None,
        at: int,
        input_tokens: int,
        output_tokens: int,
        operation: str | None = None,
        service_tier: str | None = None,
        belongs: Callable[[], Sequence[tuple[str, str]]] = ...,
    ) -> int | str:
        """The most that a call of this size can cost at a moment, in 10⁻¹² USD, or why nobody knows."""
        ...

    def max_output_tokens(self, provider: str | None, model: str | None) -> int | None: ...


class Size(Struct, frozen=True, gc=False):
    """The most a call can come to. The cost is None when nobody knows a price; `assumed` says which sizes were not given."""

    #: By measure, in the order of `MEASURES`: cost, tokens, input, output, requests.
    amounts: tuple[int | None, int, int, int, int]
    unpriced_reason: str | None = None
    assumed: tuple[str, ...] = ()
    input_cost: int | None = None  # the part of the cost that no shorter answer would save
    #: What it costs at the standard tier, where the one that the check names has no price: the provider may serve it there.
    standard_cost: int = 0

    @property
    def cost(self) -> int | None:
        return self.amounts[0]

    @property
    def input_tokens(self) -> int:
        return self.amounts[2]

    @property
    def output_tokens(self) -> int:
        return self.amounts[3]

    @property
    def price_confidence(self) -> str:
        if self.cost is None:
            return f"unpriced: {self.unpriced_reason or 'no price is known'}"
        return f"priced; {' and '.join(self.assumed)} assumed" if self.assumed else "priced"

    def worst(self, limit: Limit) -> int | None:
        """What the call can add to a limit at most, in its units; None when its price is not known and must be."""
        units = self.amounts[limit.measured]
        if units is not None or limit.unpriced == "refuse":
            return units
        return max(self.standard_cost, ceiling_of(limit, self.amounts[1]) if limit.unpriced == "ceiling" else 0)


def size_of(check: Check, pricing: Pricing, now: int, *, priced: bool) -> Size:
    """The most a check's call can come to; the price is only asked for when some limit counts money."""
    assumed = []
    input_tokens, output_tokens = check.input_tokens, check.max_output_tokens
    if input_tokens is None:
        input_tokens = ASSUMED_INPUT_TOKENS
        assumed.append("input_tokens")
    if output_tokens is None:
        output_tokens = pricing.max_output_tokens(check.payee, check.model) or ASSUMED_OUTPUT_TOKENS
        assumed.append("max_output_tokens")
    return _sized(check, pricing, now, input_tokens, output_tokens, tuple(assumed), priced=priced)


def learned_size(check: Check, most: Size, sample: tuple[int, int], pricing: Pricing, now: int, *, priced: bool) -> Size:
    """What calls like this one have used: given input tokens stay, the learned output is never more than the most."""
    input_tokens, output_tokens = sample
    if check.input_tokens is not None:
        input_tokens = check.input_tokens
    output_tokens = min(output_tokens, most.output_tokens)
    return _sized(check, pricing, now, input_tokens, output_tokens, most.assumed, priced=priced)


def with_input_cost(size: Size, check: Check, pricing: Pricing, now: int) -> Size:
    """The size with what its input alone costs, to tell how long an answer would still fit."""
    alone = _sized(check, pricing, now, size.input_tokens, 0, (), priced=size.cost is not None)
    return replace(size, input_cost=alone.cost)


def _sized(
    check: Check,
    pricing: Pricing,
    now: int,
    input_tokens: int,
    output_tokens: int,
    assumed: tuple[str, ...],
    *,
    priced: bool,
) -> Size:
    def most(service_tier: str | None) -> int | str:
        return pricing.most(
            provider=check.payee,
            model=check.model,
            at=now,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            operation=check.operation,
            service_tier=service_tier,
            belongs=lambda: _belongs(check),
        )

    cost = most(check.service_tier) if priced else 0
    tokens = input_tokens + output_tokens, input_tokens, output_tokens
    if isinstance(cost, int):
        return Size((cost, *tokens, 1), None, assumed)
    standard = most(None) if check.service_tier else 0
    return Size((None, *tokens, 1), cost, assumed, standard_cost=standard if isinstance(standard, int) else 0)


def _belongs(check: Check) -> list[tuple[str, str]]:
    """Whom the call is for, as contract prices ask for it."""
    whom = [(name, value) for name in ("tenant", "project", "user", "agent", "environment", "service")
            if (value := getattr(check, name)) is not None]  # fmt: skip
    return whom + [("tag", f"{key}={value}") for key, value in check.tags.items()]
