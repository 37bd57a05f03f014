"""Every client that is metered; adding one is adding a file and a line here."""

from spanledger.instrumentation.provider import Provider
from spanledger.instrumentation.providers import anthropic, openai

PROVIDERS: tuple[Provider, ...] = (
    openai.PROVIDER,
    anthropic.PROVIDER,
)
