"""A library that turns whatever is raised below it into errors of its own: a refusal comes out of it as it was raised."""

import inspect
from collections.abc import Callable
from typing import Any

from spanledger.instrumentation.errors import LimitExceeded

#: Errors that were made of one another, before what lies below them is given up.
_DEEPEST = 30


def reveal(original: Callable[..., Any]) -> Callable[..., Any]:
    """The same function; where it fails because a call was refused, LimitExceeded is raised. It changes nothing else."""
    if inspect.iscoroutinefunction(original):

        async def asynchronous(*args: Any, **kwargs: Any) -> Any:
            try:
                return await original(*args, **kwargs)
            except Exception as error:
                if (refusal := refusal_in(error)) is None:
                    raise
            raise refusal

        return asynchronous

    def synchronous(*args: Any, **kwargs: Any) -> Any:
        try:
            return original(*args, **kwargs)
        except Exception as error:
            if (refusal := refusal_in(error)) is None:
                raise
        raise refusal

    return synchronous


def refusal_in(error: BaseException) -> LimitExceeded | None:
    """The refusal that this error was made of, directly or by way of others."""
    below: BaseException | None = error
    for _ in range(_DEEPEST):
        if below is None or isinstance(below, LimitExceeded):
            return below
        below = below.__cause__ or below.__context__
    return None
