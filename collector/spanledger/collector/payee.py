"""Who is paid for a call, for which model, and which kind of provider that is."""

from functools import lru_cache

import polars as pl

from spanledger.collector import names
from spanledger.collector.dialects import DIALECTS
from spanledger.collector.dialects.dialect import Family
from spanledger.collector.embedded import model_in

_READS = (
    "dialect", "operation", "provider", "request_model", "response_model", "model_hint", "server_address", "region",
    "resource_region",
)  # fmt: skip
_TELLS = dict.fromkeys(("provider", "requested_model", "model", "region", "family"), pl.String)
#: Those whose client speaks to many providers: the host knows better who answers.
_ANY_HOST = (None, "openai", "anthropic", "gcp.gen_ai")


def paid(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame, of few rows, with who is paid, for which model, of which family, and where it runs."""
    told = [_paid(*row) for row in frame.select(_READS).iter_rows()]
    return frame.with_columns(pl.DataFrame(told, schema=_TELLS, orient="row").get_columns())


@lru_cache(maxsize=8192)
def _paid(
    dialect: int,
    operation: str | None,
    provider: str | None,
    request_model: str | None,
    response_model: str | None,
    model_hint: str | None,
    server_address: str | None,
    region: str | None,
    resource_region: str | None,
) -> tuple[str | None, str | None, str | None, str | None, Family]:
    # Azure AI Inference writes its operation where the requested model belongs.
    requested = None if request_model == operation else request_model
    if requested is None and model_hint is not None and response_model is None and request_model is None:
        requested = model_in(model_hint)
    sent = requested if response_model is None else response_model
    model = None if sent is None else names.unprefixed(sent)
    named = None if provider is None else names.provider(provider)
    answering = None if server_address is None else names.provider_at(server_address)
    if answering is not None and named in _ANY_HOST:
        payee: str | None = answering
    elif named is not None or DIALECTS[dialect].provider:
        payee = named or DIALECTS[dialect].provider
    else:
        payee = None if model is None else names.provider_of_model(model)
    if sent is not None and payee in names.HOSTS_OF_OTHERS:
        model = names.hosted(payee, sent)
    if region is None:
        region = (None if server_address is None else names.region_at(server_address)) or resource_region
    return payee, requested, model, region, names.family((payee, model))
