"""Groq, through its own SDK."""

from spanledger.instrumentation.provider import Provider
from spanledger.instrumentation.providers.openai import OPERATIONS, with_media
from spanledger.instrumentation.stainless import asking, layers, sampling

PROVIDER = Provider(
    name="groq",
    client="groq",
    layers=layers("groq._base_client"),
    ask=with_media(asking(OPERATIONS, lambda client: "groq", sampling)),
    tested=("0.13.1", "1.7.0"),
)
