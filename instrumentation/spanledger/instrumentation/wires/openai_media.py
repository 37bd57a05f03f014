"""OpenAI's embeddings, images, audio, video and moderations."""

from typing import Any

from spanledger.instrumentation.answer import Answer
from spanledger.instrumentation.usage import Usage, count, field, view
from spanledger.instrumentation.wires.openai_responses import responses_usage


def read_embeddings(answered: Any, answer: Answer) -> None:
    answer.model = field(answered, "model") or None
    usage = field(answered, "usage")
    if usage is not None:
        answer.usage = Usage(input=count(usage, "prompt_tokens"), output=0)
    answer.finished = True


def read_images(answered: Any, answer: Answer) -> None:
    """The models before gpt-image report no tokens and are charged by the image."""
    usage = field(answered, "usage")
    if usage is not None:
        answer.usage = responses_usage(usage)
    made = field(answered, "data")
    if made:
        answer.meter("images", len(made))
    for name in ("size", "quality"):
        value = field(answered, name)
        if isinstance(value, str):
            answer.say(f"openai.response.image.{name}", value)
    answer.finished = True


def read_image_event(event: Any, answer: Answer) -> None:
    said = view(event)
    if said.get("type") in ("image_generation.completed", "image_edit.completed"):
        usage = said.get("usage")
        if usage is not None:
            answer.usage = responses_usage(usage)
        answer.meter("images", 1)
        answer.finished = True
    elif said.get("type") == "error":
        error = said.get("error")
        answer.error = str((error is not None and field(error, "code")) or "error")


def read_transcription(answered: Any, answer: Answer) -> None:
    """Charged by tokens or by seconds, as the usage says; a translation tells its seconds only when verbose."""
    usage = field(answered, "usage")
    seconds = None if usage is None else field(usage, "seconds")
    if seconds is not None:
        answer.meter("audio_seconds", seconds)
    elif usage is not None:
        answer.usage = responses_usage(usage)
    elif (seconds := field(answered, "duration")) is not None:
        answer.meter("audio_seconds", float(seconds))
    answer.finished = True


def read_transcription_event(event: Any, answer: Answer) -> None:
    said = view(event)
    if said.get("type") == "transcript.text.done":
        read_transcription(event, answer)


def read_speech(_: Any, answer: Answer) -> None:
    """The answer is sound. What it consumed is known from the request: its characters."""
    answer.finished = True


def read_speech_event(event: Any, answer: Answer) -> None:
    said = view(event)
    if said.get("type") == "speech.audio.done":
        usage = said.get("usage")
        if usage is not None:
            answer.usage = responses_usage(usage)
        answer.finished = True


def read_video(answered: Any, answer: Answer) -> None:
    """A video is charged by its seconds once it is accepted."""
    answer.id = field(answered, "id")
    answer.model = field(answered, "model")
    seconds = field(answered, "seconds")
    if field(answered, "status") == "failed":
        answer.error = "failed"
    elif seconds is not None:
        answer.meter("video_seconds", float(seconds))
    size = field(answered, "size")
    if isinstance(size, str):
        answer.say("openai.response.video.size", size)
    answer.finished = True


def read_moderation(answered: Any, answer: Answer) -> None:
    answer.id = field(answered, "id")
    answer.model = field(answered, "model")
    answer.finished = True
