"""An application with the one import line, run as a process of its own: `python application.py <scene> <stand-in's URL>`.

Its output is one JSON object that tells what the application saw.
"""

import asyncio
import json
import sys
from typing import Any

import anthropic
import openai

import spanledger.auto  # noqa: F401
from spanledger.instrumentation import LimitExceeded, attribute

PLAIN = "Plain. [[input=1000 cache_read=600 output=50 reasoning=20]]"
STREAMED = "Streamed. [[input=2000 output=100]]"
CACHED = "Cached. [[input=5000 cache_read=3000 cache_write=1000 cache_write_1h=400 output=200]]"


def asked(prompt: str) -> list[Any]:
    return [{"role": "user", "content": prompt}]


def every_kind(url: str) -> dict[str, Any]:
    """One call of each kind, each for a user of its own."""
    at_openai: dict[str, Any] = {"base_url": f"{url}/v1", "api_key": "sk-secret-of-the-application", "max_retries": 0}
    at_anthropic: dict[str, Any] = {"base_url": url, "api_key": "sk-secret-of-the-application", "max_retries": 0}
    gpt, claude = openai.OpenAI(**at_openai), anthropic.Anthropic(**at_anthropic)
    seen: dict[str, Any] = {}
    with attribute(tenant="acme", agent="bot", project="end-to-end", ticket="T-1"):
        with attribute(user="plain"):
            answer = gpt.chat.completions.create(model="gpt-4o", messages=asked(PLAIN))
            seen["plain"] = type(answer).__module__
        with attribute(user="streamed"):
            stream = gpt.chat.completions.create(
                model="gpt-4o", messages=asked(STREAMED), stream=True, stream_options={"include_usage": True}
            )
            seen["streamed"] = sum(1 for _ in stream)
        with attribute(user="cached"):
            message = claude.messages.create(model="claude-haiku-4-5", max_tokens=1_000, messages=asked(CACHED))
            seen["cached"] = message.usage.cache_read_input_tokens
        with (
            attribute(user="helper"),
            claude.messages.stream(model="claude-haiku-4-5", max_tokens=1_000, messages=asked(STREAMED)) as helper,
        ):
            seen["helper"] = helper.get_final_message().usage.output_tokens
        with attribute(user="refused"):
            try:
                gpt.chat.completions.create(model="fail-429", messages=asked("No."))
            except openai.RateLimitError as error:
                seen["refused"] = error.status_code
        with attribute(user="nameless"):
            gpt.chat.completions.create(model="a-model-nobody-knows", messages=asked(PLAIN))
    seen["at once"] = asyncio.run(at_once(at_openai, at_anthropic))
    return seen


async def at_once(at_openai: dict[str, Any], at_anthropic: dict[str, Any]) -> int:
    """Ten asynchronous calls in flight together, of two tenants."""

    async def one(number: int) -> None:
        with attribute(tenant="globex", user=f"async-{number % 2}"):
            if number % 2:
                await claude.messages.create(model="claude-haiku-4-5", max_tokens=1_000, messages=asked(CACHED))
            else:
                await gpt.chat.completions.create(model="gpt-4o", messages=asked(PLAIN))

    async with openai.AsyncOpenAI(**at_openai) as gpt, anthropic.AsyncAnthropic(**at_anthropic) as claude:
        await asyncio.gather(*(one(number) for number in range(10)))
    return 10


def until_refused(url: str) -> dict[str, Any]:
    """Calls for one tenant until a limit says no, and one for another tenant after that."""
    gpt = openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)
    # As long as the usage it asks the stand-in for, as a real prompt is: a hold is the most that a call of its size can cost.
    prompt = asked(PLAIN + " word" * 1_000)
    made = 0
    explanation: dict[str, Any] = {}
    with attribute(tenant="spender", user="u-1"):
        for _ in range(50):
            try:
                gpt.chat.completions.create(model="gpt-4o", max_completion_tokens=50, messages=prompt)
            except LimitExceeded as refusal:
                explanation = refusal.explanation
                break
            made += 1
    with attribute(tenant="saver", user="u-2"):
        gpt.chat.completions.create(model="gpt-4o", max_completion_tokens=50, messages=prompt)
    return {"made": made, "explanation": explanation}


def failing_until_refused(url: str) -> dict[str, Any]:
    """Calls that the provider refuses, as fast as they go, until a limit on requests says no."""
    gpt = openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)
    failed = 0
    with attribute(tenant="failer"):
        for _ in range(20):
            try:
                gpt.chat.completions.create(model="fail-429", max_completion_tokens=50, messages=asked(PLAIN))
            except LimitExceeded as refusal:
                return {"failed": failed, "explanation": refusal.explanation}
            except openai.RateLimitError:
                failed += 1
    return {"failed": failed, "explanation": {}}


SCENES = {"every kind": every_kind, "until refused": until_refused, "failing until refused": failing_until_refused}

if __name__ == "__main__":
    print(json.dumps(SCENES[sys.argv[1]](sys.argv[2])))
