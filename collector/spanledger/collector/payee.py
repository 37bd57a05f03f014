"""Who is paid for a call, for which model, and which kind of provider that is."""

import polars as pl

from spanledger.collector import names
from spanledger.collector.dialects import DIALECTS
from spanledger.collector.embedded import model_in


def paid(frame: pl.DataFrame) -> pl.DataFrame:
    """Who is paid, for which model, of which family."""
    # Azure AI Inference writes its operation where the requested model belongs.
    asked = pl.when(pl.col("request_model").ne_missing(pl.col("operation"))).then("request_model")
    nameless = frame["response_model"].is_null() & frame["request_model"].is_null() & frame["model_hint"].is_not_null()
    hint = names.mapped(
        frame["model_hint"].zip_with(nameless, pl.Series([None], dtype=pl.String).new_from_index(0, frame.height)), model_in
    )
    frame = frame.with_columns(
        asked.alias("requested_model"),
        hint.alias("hinted"),
        names.mapped(frame["provider"], names.provider).alias("named"),
        names.mapped(frame["server_address"], names.provider_at).alias("answering"),
        names.mapped(frame["server_address"], names.region_at).alias("hosted"),
        pl.Series("usual", [d.provider or None for d in DIALECTS], dtype=pl.String)[frame["dialect"]],
    )
    frame = frame.with_columns(
        names.mapped(
            frame.select(pl.coalesce("response_model", "requested_model", "hinted").alias("m"))["m"], names.unprefixed
        ).alias("model"),
        pl.coalesce("requested_model", "hinted").alias("requested_model"),
        pl.coalesce("region", "hosted", "resource_region").alias("region"),
    )
    by_model = names.mapped(frame["model"], names.provider_of_model)
    named, answering = pl.col("named"), pl.col("answering")
    frame = frame.with_columns(
        pl.when(answering.is_not_null() & (named.is_null() | named.is_in(["openai", "anthropic", "gcp.gen_ai"])))
        .then(answering)
        .otherwise(pl.coalesce(named, "usual", by_model))
        .alias("provider")
    )
    distinct = frame.select("provider", "model").unique()
    families = distinct.with_columns(pl.Series("family", [names.family(pair) for pair in distinct.iter_rows()], dtype=pl.String))
    return frame.join(families, on=["provider", "model"], how="left", nulls_equal=True, maintain_order="left")
