"""A plain table on standard output: columns as wide as they need to be, numbers to the right."""

from collections.abc import Collection, Sequence

import typer


def show(heads: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[int] = (), empty: str = "nothing") -> None:
    """Print rows under their heads; `empty` is said when there is none."""
    if not rows:
        typer.echo(empty)
        return
    widths = [max(len(str(row[column])) for row in (heads, *rows)) for column in range(len(heads))]
    for number, row in enumerate((heads, *rows)):
        cells = [str(c).rjust(w) if i in right else str(c).ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        line = "  ".join(cells).rstrip()
        typer.echo(typer.style(line, bold=True) if number == 0 else line)
