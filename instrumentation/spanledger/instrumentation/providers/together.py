"""Together AI, through its own SDK."""

from typing import Any

from spanledger.instrumentation.answer import Answer, Operation
from spanledger.instrumentation.provider import Provider
from spanledger.instrumentation.providers.openai import OPERATIONS, with_media
from spanledger.instrumentation.stainless import asking, layers, sampling
from spanledger.instrumentation.usage import Usage, count, field


def _read_rerank(answered: Any, answer: Answer) -> None:
    answer.id, answer.model = field(answered, "id"), field(answered, "model")
    usage = field(answered, "usage")
    if usage is not None:
        answer.usage = Usage(input=count(usage, "prompt_tokens"), output=count(usage, "completion_tokens") or 0)
    answer.finished = True


PROVIDER = Provider(
    name="together",
    client="together",
    layers=layers("together._base_client"),
    ask=with_media(
        asking({**OPERATIONS, "/rerank": Operation(name="rerank", read=_read_rerank)}, lambda client: "together_ai", sampling)
    ),
    tested=("2.0.0", "3.1.1"),
)
