"""Moments as requests write them."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import BeforeValidator

from spanledger.prices.rule_form import RuleError, moment_of


def _moment(value: Any) -> datetime | None:
    try:
        return moment_of("", value)
    except RuleError as error:
        raise ValueError(error.says) from None


#: A moment with an offset; a bare day is midnight UTC.
Moment = Annotated[datetime | None, BeforeValidator(_moment)]
#: One in the query of a request.
At = Annotated[Moment, Query()]
