"""Fireworks AI, through its own SDK."""

from spanledger.instrumentation.provider import Provider
from spanledger.instrumentation.providers.openai import OPERATIONS, with_media
from spanledger.instrumentation.stainless import asking, layers, sampling

PROVIDER = Provider(
    name="fireworks",
    client="fireworks-ai",
    layers=layers("fireworks._base_client"),
    ask=with_media(asking(OPERATIONS, lambda client: "fireworks", sampling)),
    tested=("1.2.0", "1.2.30"),
)
