"""Rules as people and databases write them: text in, a `Rule` out, or an error that names the field."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, get_args

from spanledger.prices.cell import ALL_WEEK, BEGINNING, DAY_MINUTES, FOREVER, UNBOUNDED, Box, microseconds
from spanledger.prices.meters import BY_RATE_KEY
from spanledger.prices.rule import ANY, LAYERS, SCOPES, Layer, Rule, ScopeKind

#: What a rule may say, in the order in which it is shown.
FIELDS = (
    "layer", "scope", "provider", "model", "tier", "region", "valid_from", "valid_to", "hours", "weekdays", "over_tokens",
    "upto_tokens", "rates", "multiplier", "same_as", "monthly_usd", "priority", "note",
)  # fmt: skip

#: No list price comes near it, and amounts stay within 128 bits.
MOST_USD = 1_000_000
#: Digits after the point of a rate or a multiplier; what is smaller would be shown, and might be charged, as nothing.
MOST_DECIMALS = 18
#: Of a name, as everywhere in the ledger.
MOST_CHARACTERS = 512

_NUMBER = re.compile(r"[+-]?(\d{1,40}(\.\d{0,60})?|\.\d{1,60})([eE][+-]?\d{1,3})?", re.ASCII)
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass
class RuleError(ValueError):
    """A rule cannot be as written; `field` says which part of it and `says` why."""

    field: str
    says: str

    def __str__(self) -> str:
        return f"{self.field}: {self.says}"


def rule_of(form: Mapping[str, Any], rule_id: str) -> Rule:
    """The rule that a form describes. Raises `RuleError`."""
    for name in form:
        if name not in FIELDS:
            raise RuleError(name, f"is not a field of a rule{_meant(name, FIELDS)}")
    layer = form.get("layer") or "contract"
    if layer not in LAYERS:
        raise RuleError("layer", f"{layer!r} is none of {', '.join(get_args(Layer))}")
    scope, belongs_to = scope_of(form.get("scope") or "")
    if scope != "all" and layer != "contract":
        raise RuleError("scope", f"a rule of the layer {layer} is for everybody; a contract may be for one {scope}")
    does = [name for name in ("rates", "multiplier", "same_as") if form.get(name) not in (None, "", {})]
    if len(does) != 1:
        raise RuleError(does[1] if does else "rates", "give exactly one of rates, multiplier and same_as")
    if layer == "default" and does != ["rates"]:
        raise RuleError(does[0], "a default price has rates")
    return Rule(
        rule_id=rule_id, layer=layer, scope=scope, belongs_to=belongs_to,
        provider=_word(form, "provider"), model=_word(form, "model"),
        tier=str(form.get("tier") or ""), region=_word(form, "region"),
        box=_box(form), rates=rates_of(form["rates"]) if does == ["rates"] else {},
        multiplier=_multiplier(form.get("multiplier")), same_as=_same_as(form.get("same_as")),
        priority=_whole(form, "priority", 0, -1000, 1000), estimated=layer == "default",
    )  # fmt: skip


def scope_of(text: object) -> tuple[ScopeKind, str]:
    """`tenant:acme` and its like; the empty text is everybody."""
    if text in ("", "all"):
        return "all", ""
    kind, colon, value = text.partition(":") if isinstance(text, str) else ("", "", "")
    if not colon or not value or kind not in SCOPES or kind == "all":
        raise RuleError("scope", f"{text!r} should read tenant:NAME, project:NAME, key:ID or tag:NAME=VALUE")
    if kind == "tag" and not all(value.partition("=")[:2]):
        raise RuleError("scope", f"{text!r} should read tag:NAME=VALUE")
    if len(value) > MOST_CHARACTERS or not value.isprintable():
        raise RuleError("scope", f"should be a name of at most {MOST_CHARACTERS} characters that can be printed")
    if ANY in value:
        raise RuleError("scope", f"{text!r}: a scope is one {kind}; without a scope a rule is for everybody")
    return kind, value


def rates_of(rates: Any) -> dict[str, Fraction]:
    """USD for one of each counter from rates by unit: `{"input_mtok": "2.50"}`."""
    if not isinstance(rates, Mapping) or not rates:
        raise RuleError("rates", 'should be an object such as {"input_mtok": "2.50", "output_mtok": "10"}')
    found = {}
    for key, value in rates.items():
        meter = BY_RATE_KEY.get(key)
        if meter is None:
            raise RuleError(f"rates.{key}", f"is not a known unit{_meant(key, tuple(BY_RATE_KEY))}")
        amount = _amount(f"rates.{key}", value)
        found[meter.counter] = Fraction(amount) / meter.per
    return found


def rate_keys(rates: Mapping[str, Fraction]) -> dict[str, str]:
    """The reverse of `rates_of`: decimals by unit, to eighteen digits at most."""
    by_counter = {meter.counter: meter for meter in BY_RATE_KEY.values()}
    return {by_counter[counter].rate_key: text_of(rate * by_counter[counter].per) for counter, rate in rates.items()}


def text_of(amount: Fraction) -> str:
    """An amount as a plain decimal."""
    scaled = round(amount * 10**18)
    text = format(Decimal(scaled).scaleb(-18), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def moment_of(field: str, value: Any) -> datetime | None:
    """A moment from ISO 8601 text or a datetime; a bare date is midnight UTC, and anything else needs an offset."""
    if value in (None, ""):
        return None
    if isinstance(value, datetime):
        at = value
    else:
        try:
            at = datetime.fromisoformat(str(value))
        except ValueError:
            raise RuleError(field, f"{value!r} is no moment such as 2026-12-01 or 2026-12-01T08:00:00Z") from None
        if at.tzinfo is None and "T" not in str(value).upper() and " " not in str(value):
            at = at.replace(tzinfo=UTC)
    if at.tzinfo is None:
        raise RuleError(field, f"{value} needs an offset or Z, such as {value}Z")
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise RuleError(field, f"{value} is beyond the years 1 to 9999 in UTC") from None


def _box(form: Mapping[str, Any]) -> Box:
    starts, ends = moment_of("valid_from", form.get("valid_from")), moment_of("valid_to", form.get("valid_to"))
    if starts and ends and ends <= starts:
        raise RuleError("valid_to", f"{ends.isoformat()} is not after valid_from, {starts.isoformat()}")
    over = _whole(form, "over_tokens", -1, -1, UNBOUNDED)
    upto = _whole(form, "upto_tokens", UNBOUNDED, 0, UNBOUNDED)
    if upto <= over:
        raise RuleError("upto_tokens", f"{upto} is not above over_tokens, {over}")
    minute_from, minute_to = _hours(form.get("hours"))
    return Box(
        starts=microseconds(starts) if starts else BEGINNING, ends=microseconds(ends) if ends else FOREVER,
        minute_from=minute_from, minute_to=minute_to, weekdays=_weekdays(form.get("weekdays")), over=over, upto=upto,
    )  # fmt: skip


def _hours(text: Any) -> tuple[int, int]:
    if text in (None, ""):
        return 0, DAY_MINUTES
    try:
        first, last = (int(clock[:2]) * 60 + int(clock[3:]) for clock in str(text).split("-"))
    except ValueError:
        raise RuleError("hours", f"{text!r} should read HH:MM-HH:MM in UTC, such as 16:30-24:00") from None
    if not 0 <= first < last <= DAY_MINUTES:
        raise RuleError("hours", f"{text!r} ends before it begins; for hours over midnight make two rules")
    return first, last


def _weekdays(text: Any) -> int:
    if text in (None, ""):
        return ALL_WEEK
    days = 0
    for word in str(text).lower().replace(",", " ").split():
        if word[:3] not in _DAYS:
            raise RuleError("weekdays", f"{word!r} is none of {', '.join(_DAYS)}")
        days |= 1 << _DAYS.index(word[:3])
    return days


def _multiplier(value: Any) -> Fraction | None:
    if value in (None, ""):
        return None
    return Fraction(_amount("multiplier", value, 100, "a hundredfold: 0.88 is a discount of 12 %"))


def _same_as(value: Any) -> str:
    if value in (None, ""):
        return ""
    provider, slash, model = str(value).partition("/")
    if not (slash and provider and model):
        raise RuleError("same_as", f"{value!r} should read PROVIDER/MODEL, such as openai/gpt-4o")
    return str(value)


def _amount(field: str, value: Any, most: int = MOST_USD, in_words: str = "a million US dollars") -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise RuleError(field, f"{value!r} is not a number")
    if not _NUMBER.fullmatch(text := str(value)):
        raise RuleError(field, f"{text[:60]!r} is not a number such as 2.50")
    amount = Decimal(text)
    if amount < 0:
        raise RuleError(field, f"{value} is below zero: a discount is a multiplier below one")
    if amount > most:
        raise RuleError(field, f"{value} is more than {in_words}")
    if amount != round(amount, MOST_DECIMALS):
        raise RuleError(field, f"{value} has more than {MOST_DECIMALS} digits after the point")
    return amount


def _whole(form: Mapping[str, Any], field: str, default: int, least: int, most: int) -> int:
    value = form.get(field)
    if value in (None, ""):
        return default
    if isinstance(value, bool) or not str(value).lstrip("-").isdigit() or not least <= int(value) <= most:
        raise RuleError(field, f"{value!r} is not a whole number from {least} to {most}")
    return int(value)


def _word(form: Mapping[str, Any], field: str) -> str:
    value = form.get(field)
    if value is None:
        return ANY
    if not isinstance(value, str):
        raise RuleError(field, f"{value!r} is not a text")
    value = value.strip()
    if not value:
        raise RuleError(field, f"is empty: leave it out, or say {ANY}, for any {field}")
    if len(value) > MOST_CHARACTERS or not value.isprintable():
        raise RuleError(field, f"should be a name of at most {MOST_CHARACTERS} characters that can be printed")
    if ANY in value[:-1]:
        raise RuleError(field, f"{value!r}: * may stand at the end only")
    return value


def _meant(word: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(word, known, 1)
    return f" (did you mean {near[0]}?)" if near else f" (known: {', '.join(known)})"
