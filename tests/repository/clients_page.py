"""Writes docs/clients.md from the `Provider` values: `python -m tests.repository.clients_page`."""

import sys
from collections.abc import Iterator

from spanledger.instrumentation.provider import Provider
from spanledger.instrumentation.providers import PROVIDERS
from tests.repository.skeleton import ROOT

PAGE = ROOT / "docs" / "clients.md"

HEAD = """# Clients

Made from the `Provider` values in `instrumentation/spanledger/instrumentation/providers/` by
`python -m tests.repository.clients_page`; a test fails when it is stale.

Every call that a process makes through one of these is one span with the provider's own token counts: synchronous or
asynchronous, whole or streamed, through helpers or raw. The oldest and the newest version named are those that the tests
have run with, through the real client; what lies between is expected to work, what is newer is metered if its request
layer still stands where it did, and left alone if not. `make test-clients` runs the newest, `make test-matrix` both.

| package | tested | what is metered | where |
|---|---|---|---|
"""

FOOT = """
A provider that is reached through another's client (`base_url`) is named by its host: see `hosts.py` beside the
providers, and `SPANLEDGER_PROVIDER_HOSTS` for hosts of your own.

| operations | are |
|---|---|
"""


def what(provider: Provider) -> str:
    """The first sentence of the module that holds it."""
    said = sys.modules[f"spanledger.instrumentation.providers.{provider.name}"].__doc__ or ""
    return said.splitlines()[0].rstrip(".")


def where(provider: Provider) -> str:
    """Each place once; of a client that has moved, all its places."""
    places = {f"`{layer.module}`: {'.'.join(part for part in (layer.owner, layer.method) if part)}" for layer in provider.layers}
    modules: dict[str, list[str]] = {}
    for place in sorted(places):
        module, _, method = place.partition(": ")
        modules.setdefault(module, []).append(method)
    return "; ".join(f"{module} {', '.join(methods)}" for module, methods in modules.items())


def rows() -> Iterator[str]:
    for provider in PROVIDERS:
        oldest, newest = provider.tested
        versions = oldest if oldest == newest else f"{oldest} – {newest}"
        yield f"| {provider.client} | {versions} | {what(provider)} | {where(provider)} |\n"


OPERATIONS = {
    "`chat`, `text_completion`, `generate_content`": "answers in words, Google's under its own name",
    "`embeddings`, `rerank`, `classification`, `moderation`": "numbers and judgements about texts",
    "`image_generation`, `video_generation`, `speech`, `transcription`, `translation`, `ocr`": "what is not only words",
}


#: What the clients can do beyond that.
BEYOND = """
Not metered: Google's interactions, generated videos and music sessions; Bedrock's bidirectional streams (Nova Sonic); xAI's
images and embeddings; OpenAI's live translation sessions, which report seconds; assistants and threads (their runs tell of
usage, and are deprecated); Replicate, IBM watsonx and `vertexai`'s deprecated `generative_models`, which have no `Provider` yet.
They work as without metering, and other instrumentations' spans of them are counted.
"""


def page() -> str:
    named = "".join(f"| {names} | {said} |\n" for names, said in OPERATIONS.items())
    return HEAD + "".join(rows()) + FOOT + named + BEYOND


if __name__ == "__main__":
    PAGE.write_text(page())
