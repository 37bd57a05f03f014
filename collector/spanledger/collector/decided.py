"""What names alone decide, decided once for each combination of names: role, payee, and what a dialect's numbers mean."""

import secrets

import numpy as np
import polars as pl

from spanledger.collector import roles
from spanledger.collector.dialects import DIALECTS
from spanledger.collector.payee import paid
from spanledger.collector.usage import meant

#: Nobody who sends names can know by which numbers they are hashed, nor make two combinations look like one.
_SEED = secrets.randbits(64)

_BY = (
    "dialect", "signal", "known_name", "class", "subclass", "operation", "provider", "request_model", "response_model",
    "model_hint", "server_address", "region", "resource_region",
)  # fmt: skip
#: Fields that prove that a leaf was answered, in dialects where they do.
PROOFS = ("response_model", "response_id", "finish_reason")
_DECIDED = (
    "role", "fails", "operation", "requested_model", "model", "provider", "region", "family", "cache", "thinking",
    "loses_cache", "rank", "synthetic", "cumulative", "sums", *(f"{proof}_proves" for proof in PROOFS),
)  # fmt: skip
_OF_DIALECT = pl.DataFrame(
    {
        "cumulative": [bool(dialect.cumulative) for dialect in DIALECTS],
        "sums": [dialect.sums for dialect in DIALECTS],
        **{f"{proof}_proves": [proof in dialect.answers for dialect in DIALECTS] for proof in PROOFS},
    }
)


def decided(frame: pl.DataFrame) -> pl.DataFrame:
    """Spans and log records with the columns `_DECIDED`."""
    unnamed = pl.col("response_model").is_null() & pl.col("request_model").is_null()
    frame = frame.with_columns(roles.known_name(frame), pl.when(unnamed).then("model_hint").alias("model_hint"))
    combinations = frame.select(_BY)
    _, first, index = np.unique(combinations.hash_rows(_SEED).to_numpy(), return_index=True, return_inverse=True)
    told = ranked(meant(paid(roles.classify(combinations[first]))))
    told = told.with_columns(_OF_DIALECT[told["dialect"]].get_columns())
    return frame.drop("known_name").with_columns(told.select(_DECIDED)[index].get_columns())


def ranked(frame: pl.DataFrame) -> pl.DataFrame:
    """With `rank`, how near to the call its dialect's signal is, and `synthetic`, whether its response ids are made up."""
    rows = list(frame.select("dialect", "signal", "family").iter_rows())
    return frame.with_columns(
        pl.Series("rank", [DIALECTS[dialect].authority.index(signal) for dialect, signal, _ in rows], dtype=pl.Int64),
        pl.Series("synthetic", [family in DIALECTS[dialect].synthetic_ids for dialect, _, family in rows], dtype=pl.Boolean),
    )
