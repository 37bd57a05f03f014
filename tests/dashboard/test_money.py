"""Amounts are written in digits that say something, from the decimal and exactly rounded."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spanledger.dashboard.money import count, dollars, exact, percent, seconds


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (None, "–"),
        ("0", "$0.00"),
        ("0E-12", "$0.00"),
        ("1234.5", "$1,234.50"),
        ("99999.99", "$99,999.99"),
        ("182400.49", "$182,400"),
        ("0.5", "$0.50"),
        ("0.0042", "$0.0042"),
        ("0.000005812", "$0.0000058"),
        ("0.999", "$1.00"),
        ("-3.456", "−$3.46"),
    ],
)
def test_an_amount_is_shown_in_as_many_digits_as_say_something(amount: str | None, shown: str) -> None:
    assert dollars(None if amount is None else Decimal(amount)) == shown


@pytest.mark.parametrize(
    ("amount", "shown"),
    [(None, "unpriced"), ("12.345678901234", "$12.345678901234"), ("1234567.5", "$1,234,567.50"), ("-1", "−$1.00")],
)
def test_under_the_pointer_all_digits_are_there(amount: str | None, shown: str) -> None:
    assert exact(None if amount is None else Decimal(amount)) == shown


@given(st.decimals(min_value=0, max_value=10**9, places=12))
def test_no_amount_is_rounded_by_more_than_half_of_its_last_digit(amount: Decimal) -> None:
    shown = dollars(amount).removeprefix("$").replace(",", "")
    places = len(shown.partition(".")[2])
    assert abs(Decimal(shown) - amount) <= Decimal(1).scaleb(-places) / 2
    assert (Decimal(shown) == 0) == (amount == 0)
    assert Decimal(exact(amount).removeprefix("$").replace(",", "")) == amount


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (None, "–"),
        (0, "0"),
        (12345, "12,345"),
        (99_999, "99,999"),
        (250_000, "250 k"),
        (1_234_567, "1.23 M"),
        (27_100_000, "27.1 M"),
    ],
)
def test_a_count_is_in_full_until_it_is_long(number: int | None, shown: str) -> None:
    assert count(number) == shown


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0, "0 %"),
        (0.00001, "< 0.1 %"),
        (0.03, "3.0 %"),
        (0.5, "50 %"),
        (0.97, "97.0 %"),
        (0.99999, "> 99.9 %"),
        (1, "100 %"),
        (1.04, "104 %"),
    ],
)
def test_little_is_never_shown_as_nothing_nor_almost_all_as_all(share: float, shown: str) -> None:
    assert percent(share) == shown


@pytest.mark.parametrize(("duration", "shown"), [(None, "–"), (0.3404, "340 ms"), (2.14, "2.1 s"), (80.9, "1 min 20 s")])
def test_a_duration_is_shown_in_its_own_unit(duration: float | None, shown: str) -> None:
    assert seconds(duration) == shown
