"""What somebody who changes a row takes it to be: looked at inside of the change, where nobody else can change it."""

from collections.abc import Callable
from typing import Any

#: Raises when the row, as it is, is not what was expected.
Expects = Callable[[Any], None]


def anything(_: Any) -> None:
    """However it is."""
