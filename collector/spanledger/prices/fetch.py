"""The newest data of genai-prices, fetched by that library's own updater, when somebody asks for it and never else."""

from datetime import UTC, datetime


class NotFetched(OSError):
    """It could not be had; the text says why."""


def fetched() -> tuple[bytes, str]:
    """The file's bytes and a name for its state. Raises `NotFetched`."""
    import httpx2
    from genai_prices.update_prices import UpdatePrices

    updater = UpdatePrices()
    try:
        answer = httpx2.get(updater.url, timeout=30)
        answer.raise_for_status()
    except httpx2.HTTPError as error:
        raise NotFetched(f"{updater.url} cannot be fetched: {error}") from error
    return answer.content, f"fetched {datetime.now(UTC):%Y-%m-%d %H:%M}"
