"""Who is paid for a call, for which model, and which kind of provider that is."""

from spanledger.collector.dialects.dialect import Dialect, Family
from spanledger.collector.recognise import names
from spanledger.collector.recognise.embedded import model_in
from spanledger.ledger import providers

#: Those whose client speaks to many providers: the host knows better who answers.
_ANY_HOST = (None, "openai", "anthropic", "gcp.gen_ai")


def paid(
    row: Dialect,
    operation: str | None,
    provider: str | None,
    request_model: str | None,
    response_model: str | None,
    model_hint: str | None,
    server_address: str | None,
    region: str | None,
    resource_region: str | None,
) -> tuple[str | None, str | None, str | None, str | None, Family]:
    """Provider, requested model, model, region and family of a call in this dialect."""
    # Azure AI Inference writes its operation where the requested model belongs.
    requested = None if request_model == operation else request_model
    if requested is None and model_hint is not None and response_model is None and request_model is None:
        requested = model_in(model_hint)
    sent = requested if response_model is None else response_model
    model = None if sent is None else names.unprefixed(sent)
    named = None if provider is None else providers.provider(provider)
    answering = None if server_address is None else names.provider_at(server_address)
    if answering is not None and named in _ANY_HOST:
        payee: str | None = answering
    elif named is not None or row.provider:
        payee = named or row.provider
    else:
        payee = None if model is None else providers.provider_of_model(model)
    if sent is not None and payee in names.HOSTS_OF_OTHERS:
        model = names.hosted(payee, sent)
    if region is None:
        named_in = next((found for name in (request_model, sent) if name and (found := names.region_in(name))), None)
        region = named_in or (None if server_address is None else names.region_at(server_address))
        # Where the caller runs says nothing of where Google answers: its default address is all the world's.
        if region is None and not (payee or "").startswith("gcp."):
            region = resource_region
    return payee, requested, model, region, names.family((payee, model))
