"""Cerebras, through its own SDK."""

from spanledger.instrumentation.provider import Provider
from spanledger.instrumentation.providers.openai import OPERATIONS, with_media
from spanledger.instrumentation.stainless import asking, layers, sampling

PROVIDER = Provider(
    name="cerebras",
    client="cerebras-cloud-sdk",
    layers=layers("cerebras.cloud.sdk._base_client"),
    ask=with_media(asking(OPERATIONS, lambda client: "cerebras", sampling)),
    tested=("1.15.0", "1.91.0"),
)
