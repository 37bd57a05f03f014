"""An application as a user would write it: the real SDKs, one import line, who it is for. Run in a process of its own.

Its standard output is one line of JSON a call: what the provider was asked for and how it went.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import anthropic
import openai

import spanledger.auto  # noqa: F401
from spanledger.instrumentation import attribute

_QUESTIONS = (
    "Summarise the attached contract in three sentences.",
    "Which of these invoices are overdue, and by how many days?",
    "Write a polite answer to the customer's complaint about the late parcel.",
    "Find the bug in this function and explain it to a beginner.",
)


def main(url: str, run: str) -> None:
    """Make every kind of call against the stand-in at `url`, all tagged with `run`."""
    at_openai: dict[str, Any] = {"base_url": f"{url}/v1", "api_key": "demo", "max_retries": 0}
    at_anthropic: dict[str, Any] = {"base_url": url, "api_key": "demo", "max_retries": 0}
    with openai.OpenAI(**at_openai) as gpt, anthropic.Anthropic(**at_anthropic) as claude:
        for number, question in enumerate(_QUESTIONS):
            asked = _asked(question, number)
            with _as("acme", f"acme-user-{number:02}", "support-bot", run):
                _chat(gpt, "gpt-4o-mini", asked)
                _chat_streamed(gpt, "gpt-4o", asked)
            with _as("globex", f"globex-user-{number:02}", "code-review", run):
                _message(claude, "claude-sonnet-5", asked)
                _message_streamed(claude, "claude-haiku-5-5", asked)
        with _as("initech", "initech-user-01", "research", run):
            _refused(gpt, "fail-429")
    asyncio.run(_at_once(at_openai, at_anthropic, run))


def _asked(question: str, number: int) -> str:
    """The prompt, which tells the stand-in what usage to report: a cache that warms up."""
    return f"{question} [[input={1_200 + 300 * number} cache_read={400 * number} output={80 + 25 * number}]]"


@contextmanager
def _as(tenant: str, user: str, agent: str, run: str) -> Iterator[None]:
    with attribute(tenant=tenant, user=user, agent=agent, project="live-demo", session=f"{run}-{user}", demo=run):
        yield


def _told(provider: str, model: str, body: dict[str, Any], at: datetime, *, failed: bool = False) -> None:
    told = {"provider": provider, "model": model, "body": body, "at": at.isoformat(), "failed": failed}
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def _openai_body(model: str, prompt: str) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": prompt}]}


def _anthropic_body(model: str, prompt: str) -> dict[str, Any]:
    return {"model": model, "max_tokens": 1_000, "messages": [{"role": "user", "content": prompt}]}


def _chat(client: openai.OpenAI, model: str, prompt: str) -> None:
    at, body = datetime.now(UTC), _openai_body(model, prompt)
    answer = client.chat.completions.create(**body)
    _told("openai", answer.model, body, at)


def _chat_streamed(client: openai.OpenAI, model: str, prompt: str) -> None:
    at, body = datetime.now(UTC), _openai_body(model, prompt)
    answered = model
    for chunk in client.chat.completions.create(**body, stream=True, stream_options={"include_usage": True}):
        answered = chunk.model
    _told("openai", answered, body, at)


def _message(client: anthropic.Anthropic, model: str, prompt: str) -> None:
    at, body = datetime.now(UTC), _anthropic_body(model, prompt)
    _told("anthropic", client.messages.create(**body).model, body, at)


def _message_streamed(client: anthropic.Anthropic, model: str, prompt: str) -> None:
    at, body = datetime.now(UTC), _anthropic_body(model, prompt)
    with client.messages.stream(**body) as stream:
        for _ in stream.text_stream:
            pass
        _told("anthropic", stream.get_final_message().model, body, at)


def _refused(client: openai.OpenAI, model: str) -> None:
    at, body = datetime.now(UTC), _openai_body(model, "Too much, too fast.")
    try:
        client.chat.completions.create(**body)
    except openai.RateLimitError:
        _told("openai", model, body, at, failed=True)


async def _at_once(at_openai: dict[str, Any], at_anthropic: dict[str, Any], run: str) -> None:
    """The asynchronous clients, several calls in flight at a time, each for its own user."""
    async with openai.AsyncOpenAI(**at_openai) as gpt, anthropic.AsyncAnthropic(**at_anthropic) as claude:

        async def ask(number: int, question: str) -> None:
            asked = _asked(question, number)
            with _as("umbrella", f"umbrella-user-{number:02}", "summarizer", run):
                at, body = datetime.now(UTC), _openai_body("gpt-4.1", asked)
                stream = await gpt.chat.completions.create(**body, stream=True, stream_options={"include_usage": True})
                _told("openai", await _last_model(stream), body, at)
                at, body = datetime.now(UTC), _anthropic_body("claude-opus-4-8", asked)
                _told("anthropic", (await claude.messages.create(**body)).model, body, at)

        await asyncio.gather(*(ask(number, question) for number, question in enumerate(_QUESTIONS)))


async def _last_model(stream: AsyncIterator[Any]) -> str:
    model = ""
    async for chunk in stream:
        model = chunk.model
    return model


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
