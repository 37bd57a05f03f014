"""What names alone decide, decided once for each combination of names: role, payee, and what a dialect's numbers mean."""

import secrets
from functools import lru_cache
from typing import Any

import polars as pl

from spanledger.collector.dialects import DIALECTS
from spanledger.collector.recognise import roles
from spanledger.collector.recognise.payee import paid
from spanledger.collector.recognise.shapes import alike
from spanledger.collector.recognise.usage import meaning

#: Nobody who sends names can know by which numbers they are hashed, nor make two combinations look like one.
_SEED = secrets.randbits(64)

_BY = (
    "dialect", "signal", "known_name", "class", "subclass", "operation", "provider", "request_model", "response_model",
    "model_hint", "server_address", "region", "resource_region",
)  # fmt: skip
#: Fields that prove that a leaf was answered, in dialects where they do.
PROOFS = ("response_model", "response_id", "finish_reason")
_DECIDED: dict[str, Any] = {
    "role": pl.String,
    "operation": pl.String,
    "fails": pl.Boolean,
    **dict.fromkeys(("provider", "requested_model", "model", "region", "family"), pl.String),
    "cache": pl.String,
    "thinking": pl.String,
    "loses_cache": pl.Boolean,
    "rank": pl.Int64,  # how near to the call its dialect's signal is
    "synthetic": pl.Boolean,  # its response ids are made up
    "cumulative": pl.Boolean,
    "sums": pl.String,
    **{f"{proof}_proves": pl.Boolean for proof in PROOFS},
}
#: What is decided of points of metrics otherwise.
_NOT_OF_POINTS = ("role", "operation", "fails", "cumulative")
_UNNAMED = pl.col("response_model").is_null() & pl.col("request_model").is_null()


def decided(frame: pl.DataFrame, *, points: bool = False) -> pl.DataFrame:
    """Records with the columns of `_DECIDED`; points of metrics keep those that they have."""
    hint = pl.when(_UNNAMED).then("model_hint").alias("model_hint")
    combinations = frame.with_columns(roles.known_name(frame), hint).select(_BY)
    first, index = alike(combinations.hash_rows(_SEED).to_numpy())
    told = pl.DataFrame([_decide(*row) for row in combinations[first].iter_rows()], schema=_DECIDED, orient="row")
    return frame.with_columns((told.drop(_NOT_OF_POINTS) if points else told)[index].get_columns())


@lru_cache(maxsize=8192)
def _decide(
    dialect: int, signal: str, name: str | None, kind: str | None, subkind: str | None, operation: str | None, *names: str | None
) -> tuple[Any, ...]:
    row = DIALECTS[dialect]
    role, called = roles.role_of(row, signal, name, kind, subkind, operation)
    payee = paid(row, called, *names)
    family = payee[-1]
    return (
        role, called, name in roles.FAILURES, *payee, *meaning(row, family), row.authority.index(signal),
        family in row.synthetic_ids, bool(row.cumulative), row.sums, *(proof in row.answers for proof in PROOFS),
    )  # fmt: skip
