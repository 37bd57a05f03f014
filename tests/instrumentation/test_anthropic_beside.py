"""What Anthropic charges beside the numbers at the top of a usage: compactions, and advisors of another model."""

from collections.abc import Callable
from typing import Any

import anthropic
import pytest

from spanledger.cli.provider_stand_in import StandIn
from spanledger.instrumentation import attribute
from tests.instrumentation.asking import MESSAGES, reach, said, usage
from tests.instrumentation.conftest import Spans
from tests.instrumentation.counted import counted

ASK: dict[str, Any] = {"max_tokens": 500, "messages": MESSAGES}


def _plain(client: Any, model: str) -> Any:
    return client.beta.messages.create(**ASK, model=model)


def _stream(client: Any, model: str) -> Any:
    with reach(client, "beta.messages.stream")(**ASK, model=model) as stream:
        return stream.get_final_message()


def _raw(client: Any, model: str) -> Any:
    return reach(client, "beta.messages.with_raw_response.create")(**ASK, model=model).parse()


@pytest.fixture
def client(provider: StandIn) -> Any:
    with anthropic.Anthropic(base_url=provider.url, api_key="any", max_retries=0) as client:
        yield client


@pytest.mark.parametrize("use", [_plain, _stream, _raw])
def test_a_compaction_is_counted_once_with_the_call_that_made_it(
    use: Callable[[Any, str], Any], client: Any, spans: Spans
) -> None:
    use(client, "compacts-claude-sonnet-4-5")
    counts = usage(spans.one())
    assert counts["gen_ai.usage.input_tokens"] == 100 + 70
    assert counts["gen_ai.usage.cache_read.input_tokens"] == 60 + 20
    assert counts["gen_ai.usage.output_tokens"] == 40 + 30
    assert not [name for name in counts if "compaction" in name]
    assert said(spans.one())["anthropic.response.inference_geo"] == "us"


@pytest.mark.parametrize("use", [_plain, _stream, _raw])
def test_an_advisor_is_a_call_of_its_own_model_beside_the_one_it_advises(
    use: Callable[[Any, str], Any], client: Any, spans: Spans
) -> None:
    with attribute(tenant="acme"):
        message = use(client, "advised-claude-sonnet-4-5")
    calls = {said(span)["gen_ai.response.id"]: span for span in spans.calls()}
    assert set(calls) == {message.id, f"{message.id}/1"}
    advised, advisor = calls[message.id], calls[f"{message.id}/1"]
    assert usage(advised)["gen_ai.usage.input_tokens"] == 100
    assert usage(advisor) == {"gen_ai.usage.input_tokens": 200, "gen_ai.usage.output_tokens": 60}
    assert said(advisor)["gen_ai.request.model"] == "claude-opus-4-6"
    assert said(advisor)["spanledger.tenant"] == said(advised)["spanledger.tenant"] == "acme"
    assert said(advisor)["anthropic.response.inference_geo"] == "us"
    assert advisor.parent == advised.parent


def test_the_collector_counts_both_each_at_its_model(client: Any, spans: Spans) -> None:
    _plain(client, "advised-claude-sonnet-4-5")
    _plain(client, "compacts-claude-sonnet-4-5")
    found = {row["model"]: (row["input_tokens"], row["output_tokens"], row["region"]) for row in counted(spans.calls())}
    assert found == {
        "advised-claude-sonnet-4-5": (100, 40, "us"),
        "claude-opus-4-6": (200, 60, "us"),
        "compacts-claude-sonnet-4-5": (170, 70, "us"),
    }
