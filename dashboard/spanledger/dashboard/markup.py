"""Makes the HTML of the pages' own parts. Whatever comes from telemetry passes `text` and is never markup."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape
from typing import Literal

from spanledger.dashboard.money import count, dollars, exact

Tone = Literal["", "sl-amber", "sl-red"]


def text(value: object) -> str:
    """Any value as text inside an element or an attribute."""
    return escape(str(value), quote=True)


def money(amount: Decimal | None) -> str:
    """An amount, with all its digits under the pointer."""
    return f'<span title="{exact(amount)}">{dollars(amount)}</span>'


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One big number: `value` and `note` are markup, `hint` is plain text shown under the pointer."""

    label: str
    value: str
    note: str = ""
    hint: str = ""
    main: bool = False


def figures(shown: Iterable[Figure]) -> str:
    """A row of cards."""
    cards = "".join(
        f'<div class="sl-card{" sl-main" if figure.main else ""}" title="{text(figure.hint)}">'
        f'<dt>{text(figure.label)}</dt><dd class="sl-value">{figure.value}</dd><dd class="sl-note">{figure.note}</dd></div>'
        for figure in shown
    )
    return f'<dl class="sl-figures">{cards}</dl>'


def card(title: str, body: str, note: str = "") -> str:
    """A titled panel around markup."""
    heading = f'<div class="sl-title"><h3>{text(title)}</h3><span>{text(note)}</span></div>'
    return f'<section class="sl-card">{heading}{body}</section>'


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """A line of a ranking. `name` null is a value that is not given; `rest` is a line for all the others."""

    name: str | None
    cost_usd: Decimal | None
    calls: int
    unpriced: int
    rest: bool = False


def ranking(lines: Sequence[Ranked]) -> str:
    """Names with what they cost, and a bar as long as their share of the dearest."""
    most = max((line.cost_usd or Decimal(0) for line in lines if not line.rest), default=Decimal(0))
    rows = []
    for line in lines:
        name = "<em>not given</em>" if line.name is None else text(line.name)
        width = min(Decimal(100), 100 * max(line.cost_usd or Decimal(0), Decimal(0)) / most) if most > 0 else Decimal(0)
        unpriced = f' · <span class="sl-amber">{count(line.unpriced)} unpriced</span>' if line.unpriced > 0 else ""
        rows.append(
            f'<li><div class="sl-row"><span class="sl-name" title="{text(line.name or "not given")}">{name}</span>'
            f'<span class="sl-amount">{money(line.cost_usd)}</span></div>'
            f'<div class="sl-bar"><i class="{"sl-rest" if line.rest else ""}" style="width:{width:.1f}%"></i></div>'
            f"<small>{count(line.calls)} {'call' if line.calls == 1 else 'calls'}{unpriced}</small></li>"
        )
    return f'<ol class="sl-list">{"".join(rows)}</ol>'


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table: numbers stand right, `wide` ones are left out on a phone."""

    title: str
    number: bool = False
    wide: bool = False

    @property
    def classes(self) -> str:
        return " ".join(name for name, on in (("sl-num", self.number), ("sl-wide", self.wide)) if on)


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> str:
    """A table whose cells are markup."""
    head = "".join(f'<th scope="col" class="{column.classes}">{text(column.title)}</th>' for column in columns)
    body = "".join(
        "<tr>" + "".join(f'<td class="{c.classes}">{cell}</td>' for c, cell in zip(columns, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="sl-scroll"><table class="sl-table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def chip(words: str, tone: Tone = "") -> str:
    """A word in a rounded frame."""
    return f'<span class="sl-chip {tone}">{text(words)}</span>'


def legend(names: Sequence[str]) -> str:
    """Names beside the theme's chart colours, in their order."""
    shown = "".join(f'<li><i style="background:var(--sl-chart-{i})"></i>{text(name)}</li>' for i, name in enumerate(names))
    return f'<ul class="sl-legend">{shown}</ul>'


def side_by_side(cards: Iterable[str]) -> str:
    """Panels beside each other, of one height; under each other on a phone."""
    return f'<div class="sl-columns">{"".join(cards)}</div>'
