"""The newest data of genai-prices, fetched by that library's own updater, when somebody asks for it and never else."""

from datetime import UTC, datetime


class NotFetched(OSError):
    """It could not be had; the text says why."""


def fetched(url: str = "") -> tuple[bytes, str]:
    """The file's bytes and a name for its state; from a mirror when `url` names one. Raises `NotFetched`."""
    import httpx2
    from genai_prices.update_prices import UpdatePrices

    url = url or UpdatePrices().url
    try:
        answer = httpx2.get(url, timeout=30)
        answer.raise_for_status()
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise NotFetched(f"{url} cannot be fetched: {error}") from error
    return answer.content, f"fetched {datetime.now(UTC):%Y-%m-%d %H:%M}"
