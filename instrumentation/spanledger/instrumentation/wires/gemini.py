"""Google's Gemini format, on the Gemini API and on Vertex AI: content, embeddings, images."""

from typing import Any

from spanledger.instrumentation.answer import Answer
from spanledger.instrumentation.usage import Usage, count

_MODALITIES = {"AUDIO": "audio", "IMAGE": "image"}


def gemini_usage(usage: dict[str, Any]) -> Usage:
    """Thoughts stand beside the candidates here, and what tools put into the prompt beside the prompt."""
    prompt = count(usage, "promptTokenCount")
    tools = count(usage, "toolUsePromptTokenCount") or 0
    candidates = count(usage, "candidatesTokenCount")
    thoughts = count(usage, "thoughtsTokenCount")
    read = _by_modality(usage, "promptTokensDetails")
    made = _by_modality(usage, "candidatesTokensDetails")
    return Usage(
        input=None if prompt is None else prompt + tools,
        # An answer that is only thought, or was blocked, leaves the candidates out.
        output=(candidates or 0) + (thoughts or 0),
        cache_read=count(usage, "cachedContentTokenCount"),
        reasoning=thoughts,
        input_audio=read.get("audio"),
        input_image=read.get("image"),
        output_audio=made.get("audio"),
        output_image=made.get("image"),
    )


def _by_modality(usage: dict[str, Any], name: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for detail in usage.get(name) or ():
        modality = _MODALITIES.get(str(detail.get("modality")))
        tokens = count(detail, "tokenCount")
        if modality is not None and tokens is not None:
            counts[modality] = counts.get(modality, 0) + tokens
    return counts


def read_content(answered: dict[str, Any], answer: Answer) -> None:
    read_content_event(answered, answer)
    answer.finished = True


def read_content_event(chunk: dict[str, Any], answer: Answer) -> None:
    """Usage is cumulative: the last chunk has all of it."""
    if answer.model is None:
        answer.model = chunk.get("modelVersion")
        answer.id = chunk.get("responseId")
    usage = chunk.get("usageMetadata")
    if usage:
        answer.usage = gemini_usage(usage)
        tier = usage.get("trafficType") or usage.get("serviceTier")
        if isinstance(tier, str) and tier:
            # Vertex: ON_DEMAND, ON_DEMAND_FLEX, ON_DEMAND_PRIORITY or PROVISIONED_THROUGHPUT.
            answer.say("gen_ai.response.service_tier", tier)
    for candidate in chunk.get("candidates") or ():
        for part in (candidate.get("content") or {}).get("parts") or ():
            if text := part.get("text"):
                answer.hear(text, candidate.get("index") or 0)
        reason = candidate.get("finishReason")
        if reason:
            answer.finish(reason, candidate.get("index") or 0)
            answer.finished = True
        searches = (candidate.get("groundingMetadata") or {}).get("webSearchQueries")
        if searches:
            answer.meter("searches", len(searches))
    blocked = (chunk.get("promptFeedback") or {}).get("blockReason")
    if blocked:
        answer.finish(blocked)
        answer.finished = True
    error = chunk.get("error")
    if isinstance(error, dict):
        answer.error = str(error.get("status") or error.get("code") or "error")


def read_embeddings(answered: dict[str, Any], answer: Answer) -> None:
    """The Gemini API tells the tokens of the request, Vertex those of each text."""
    answer.finished = True
    usage = answered.get("usageMetadata")
    tokens = None if not usage else count(usage, "promptTokenCount")
    if tokens is None:
        each = [
            ((prediction.get("embeddings") or {}).get("statistics") or {}).get("token_count")
            for prediction in answered.get("predictions") or ()
        ]
        known = [int(number) for number in each if isinstance(number, int | float)]
        tokens = sum(known) if known else None
    if tokens is not None:
        answer.usage = Usage(input=tokens, output=0)


def read_images(answered: dict[str, Any], answer: Answer) -> None:
    """Charged by the image; one that was filtered out has a reason instead of bytes."""
    made = [image for image in answered.get("predictions") or () if image.get("bytesBase64Encoded") or image.get("gcsUri")]
    answer.meter("images", len(made))
    answer.finished = True
