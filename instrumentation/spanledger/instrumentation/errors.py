"""What can go wrong, as a tree.

SpanledgerError
├── LimitExceeded   a limit refuses the call (or the guard is closed and cannot ask); nothing was sent
└── MissingExtra    an optional part is not installed (also an ImportError)
"""

from collections.abc import Mapping
from typing import Any


class SpanledgerError(Exception):
    """The root of what Spanledger raises on purpose."""


class LimitExceeded(SpanledgerError):
    """A check refused the call before anything was sent to the provider.

    `explanation` is the whole answer of the check API (problem+json): `title`, `detail`, `limit`, `limit_id`, `scope`,
    `measure`, `used`, `held`, `amount`, `requested`, `window_end`, `retry_after_seconds`; money is a string. When the
    check API could not be asked and the guard fails closed, `limit` is None.
    """

    def __init__(self, explanation: Mapping[str, Any]) -> None:
        self.explanation: dict[str, Any] = dict(explanation)
        super().__init__(str(explanation.get("detail") or explanation.get("title") or "refused by a limit"))

    def __reduce__(self) -> tuple[type["LimitExceeded"], tuple[dict[str, Any]]]:
        return type(self), (self.explanation,)

    @property
    def limit(self) -> str | None:
        """The name of the limit that refused."""
        value = self.explanation.get("limit")
        return None if value is None else str(value)

    @property
    def retry_after_seconds(self) -> float | None:
        """How long to wait before asking again can help."""
        value = self.explanation.get("retry_after_seconds")
        return float(value) if isinstance(value, int | float) else None


class MissingExtra(SpanledgerError, ImportError):  # pyright: ignore[reportUnsafeMultipleInheritance]: neither has an __init__
    """An optional part was used whose packages are not installed; says what to type.

    `MissingExtra("dashboard", "streamlit")` reads: streamlit is not installed; try: pip install 'spanledger[dashboard]'
    """

    def __init__(self, extra: str, package: str) -> None:
        self.extra = extra
        self.package = package
        super().__init__(f"{package} is not installed; try: pip install 'spanledger[{extra}]'")

    def __reduce__(self) -> tuple[type["MissingExtra"], tuple[str, str]]:
        return type(self), (self.extra, self.package)
