"""Voyage AI through its own client: embeddings, reranking."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.styles import INPUT, Spans, Style, raised, said, waited

voyageai = pytest.importorskip("voyageai")

TEXT = "[[input=100]]"
MODEL = "voyage-3.5"
WHO = {"gen_ai.operation.name": "embeddings", "gen_ai.provider.name": "voyageai", "gen_ai.request.model": MODEL}
USED = {**INPUT, "gen_ai.usage.output_tokens": 0}


def _client(kind: str, url: str, **more: Any) -> Any:
    return getattr(voyageai, kind)(api_key="any", base_url=url + "/voyage", max_retries=1, **more)


def use(what: Callable[[Any], Any]) -> Callable[[str], Any]:
    return lambda url: what(_client("Client", url))


def wait(what: Callable[[Any], Any]) -> Callable[[str], Any]:
    return lambda url: waited(lambda: what(_client("AsyncClient", url)))


def failing(status: int) -> Callable[[Any], Any]:
    return lambda c: raised(lambda: c.embed([TEXT], model=f"fail-{status}"))


STYLES = [
    Style(name="embeddings", use=use(lambda c: c.embed([TEXT], MODEL)), said=WHO, usage=USED),
    Style(name="embeddings by name", use=use(lambda c: c.embed(texts=[TEXT], model=MODEL)), said=WHO, usage=USED),
    Style(name="async embeddings", use=wait(lambda c: c.embed([TEXT], model=MODEL)), said=WHO, usage=USED),
    Style(
        name="rerank",
        use=use(lambda c: c.rerank(TEXT, ["a", "b"], "rerank-2.5")),
        said={**WHO, "gen_ai.operation.name": "rerank", "gen_ai.request.model": "rerank-2.5"},
        usage=USED,
    ),
    *(
        Style(
            name=f"fails with {status}",
            use=use(failing(status)),
            error=str(status),
        )
        for status in (429, 400, 500)
    ),
]
if hasattr(voyageai.Client, "contextualized_embed"):
    STYLES.append(
        Style(
            name="embeddings in context",
            use=use(lambda c: c.contextualized_embed([[TEXT]], model="voyage-context-3")),
            said={**WHO, "gen_ai.request.model": "voyage-context-3"},
            usage=USED,
        )
    )


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_every_style_is_one_span_and_changes_nothing(style: Style, metered: Callable[[Style], None]) -> None:
    metered(style)


def test_a_call_that_is_tried_again_is_one_call(url: str, spans: Spans) -> None:
    client = voyageai.Client(api_key="any", base_url=url + "/voyage", max_retries=2)
    raised(lambda: client.embed([TEXT], model="fail-429"))
    assert said(spans.one())["error.type"] == "429"
