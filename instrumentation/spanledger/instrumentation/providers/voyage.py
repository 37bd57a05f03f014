"""Voyage AI: embeddings of text, of images, and in context; reranking."""

import sys
from typing import Any

from spanledger.instrumentation.answer import Answer, Asked, Operation
from spanledger.instrumentation.hosts import address_of, provider_of
from spanledger.instrumentation.provider import Ask, Provider, RequestLayer
from spanledger.instrumentation.settings import Settings
from spanledger.instrumentation.usage import Usage, count

URL = "https://api.voyageai.com"


def _read(answered: Any, answer: Answer) -> None:
    tokens = count(answered, "total_tokens")
    if tokens is not None:
        answer.usage = Usage(input=tokens, output=0)
    answer.finished = True


_EMBEDDINGS = Operation(name="embeddings", read=_read, counts_tokens=True)
_RERANK = Operation(name="rerank", read=_read)


def _asking(operation: Operation, place: int) -> Ask:
    """`place` is where the model stands among the positional arguments."""

    def ask(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any], settings: Settings) -> Asked | None:
        model = args[place] if len(args) > place else kwargs.get("model")
        local = getattr(sys.modules.get("voyageai.local.helpers"), "is_local_model", None)
        if local is not None and isinstance(model, str) and local(model):
            return None  # It runs in this process.
        base = getattr(client, "_params", {}).get("base_url") or URL
        address, port = address_of("/".join(str(base).split("/", 3)[:3]))
        texts = args[0] if args else kwargs.get("texts", kwargs.get("inputs", kwargs.get("documents")))
        asked = Asked(
            operation=operation,
            provider=provider_of(address, port, "voyageai", settings.hosts),
            model=model if isinstance(model, str) else None,
            address=address,
            port=port,
            body={"texts": texts, "query": kwargs.get("query")},
        )

        def swap(other: str) -> None:
            if len(args) > place:
                asked.sent = client, (*args[:place], other, *args[place + 1 :]), kwargs
            else:
                asked.sent = client, args, {**kwargs, "model": other}

        asked.swap = swap
        return asked

    return ask


def _layers(module: str, owner: str, style: Any) -> tuple[RequestLayer, ...]:
    # The request itself is made once for each try; a call with its retries is what passes here.
    methods = (("embed", _EMBEDDINGS, 1), ("multimodal_embed", _EMBEDDINGS, 1), ("contextualized_embed", _EMBEDDINGS, 1))
    return tuple(
        RequestLayer(module=module, owner=owner, method=method, style=style, ask=_asking(operation, place))
        for method, operation, place in (*methods, ("rerank", _RERANK, 2))
    )


PROVIDER = Provider(
    name="voyage",
    client="voyageai",
    layers=(
        *_layers("voyageai.client", "Client", "sync"),
        *_layers("voyageai.client_async", "AsyncClient", "async"),
    ),
    ask=_asking(_EMBEDDINGS, 1),
    tested=("0.4.0", "0.5.0"),
)
