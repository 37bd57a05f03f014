"""Writes amounts for people: money from its decimal, never by way of a float."""

from decimal import ROUND_HALF_EVEN, Decimal

_CENT = Decimal("0.01")


def dollars(amount: Decimal | None) -> str:
    """An amount in as many digits as say something: $1,234.56, $0.0042, $182,400; a dash when it is not known."""
    if amount is None:
        return "–"
    sign, size = ("−" if amount < 0 else ""), abs(amount)
    if size == 0:
        return "$0.00"
    if size >= 100_000:
        return f"{sign}${size.quantize(Decimal(1), ROUND_HALF_EVEN):,}"
    if size >= 1:
        return f"{sign}${size.quantize(_CENT, ROUND_HALF_EVEN):,}"
    # Below a dollar: two digits that are not zero, so that a call of a hundredth of a cent is not shown as nothing.
    places = max(2, 1 - size.adjusted())
    return f"{sign}${size.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN):f}"


def exact(amount: Decimal | None) -> str:
    """An amount with all its digits."""
    if amount is None:
        return "unpriced"
    whole, _, fraction = f"{abs(amount):f}".partition(".")
    return f"{'−' if amount < 0 else ''}${int(whole):,}.{fraction.rstrip('0').ljust(2, '0')}"


def count(number: int | None) -> str:
    """A count in full below a hundred thousand, shortened above: 12,345, 1.23 M."""
    if number is None:
        return "–"
    size = abs(number)
    for unit, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M")):
        if size >= unit:
            return f"{number / unit:.3g} {letter}" if size < 1000 * unit else f"{number // unit:,} {letter}"
    return f"{number / 1000:.0f} k" if size >= 100_000 else f"{number:,}"


def percent(share: float) -> str:
    """A share of 0 to 1 in per cent, in which little is never shown as nothing, nor almost all as all."""
    if share <= 0 or share >= 1:
        return f"{share:.0%}".replace("%", " %")
    if share < 0.001:
        return "< 0.1 %"
    if share > 0.999:
        return "> 99.9 %"
    return f"{share * 100:.1f} %" if share < 0.0995 or share > 0.9 else f"{share * 100:.0f} %"


def seconds(duration: float | None) -> str:
    """A duration: 340 ms, 2.1 s, 1 min 20 s."""
    if duration is None:
        return "–"
    if duration < 1:
        return f"{duration * 1000:.0f} ms"
    if duration < 60:
        return f"{duration:.1f} s"
    return f"{int(duration // 60)} min {int(duration % 60)} s"
