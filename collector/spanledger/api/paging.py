"""A page of a list."""

from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from fastapi import Query

from spanledger.api.problem import wrong_field

T = TypeVar("T")
After = Annotated[str | None, Query(description="`next` of the page before")]
Count = Annotated[int, Query(ge=1, le=1_000)]


def page(found: Sequence[T], key: Callable[[T], str], after: str | None, count: int) -> tuple[Sequence[T], str | None]:
    """What comes after the one with this key, and the key to go on from; None at the end. Raises `Problem` for a key that is
    not there (any more)."""
    if after is not None:
        place = next((number for number, one in enumerate(found) if key(one) == after), None)
        if place is None:
            raise wrong_field("after", f"{after!r} is not there any more; begin again without it")
        found = found[place + 1 :]
    return found[:count], key(found[count - 1]) if len(found) > count else None
