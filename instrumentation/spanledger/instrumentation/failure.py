"""What kind of failure an exception is, in few words: the provider's own code, the HTTP status, or the exception's class."""

from typing import Any


def error_type(error: BaseException) -> str | None:
    """Of low cardinality, as `error.type` is to be; None for leaving a stream early.

    Every client puts the provider's code somewhere else; messages are never looked at.
    """
    if isinstance(error, GeneratorExit):
        return None
    code = getattr(error, "code", None)
    if isinstance(code, str) and code:
        return code
    if callable(code):
        # gRPC: RESOURCE_EXHAUSTED and its kind.
        name = getattr(code(), "name", None)
        if isinstance(name, str):
            return name
    told = said(getattr(error, "body", None)) or _botocore(error) or _azure(error)
    if told:
        return told
    status = getattr(error, "status", None)
    if isinstance(status, str) and status:
        # Google: an upper-case name beside the number.
        return status
    answered = getattr(error, "response", None)
    for place in (getattr(error, "status_code", None), getattr(error, "http_status", None), code):
        if isinstance(place, int) and place > 0:
            return str(place)
    status = getattr(answered, "status_code", None)
    return str(status) if type(status) is int else type(error).__qualname__


def said(body: Any) -> str | None:
    """The code in a failed answer's JSON: `{"error": {"code": …, "type": …}}`, or the same without the outer one."""
    if type(body) is not dict:
        return None
    inner = body.get("error")
    inner = inner if type(inner) is dict else body
    for name in ("code", "type", "status"):
        value = inner.get(name)
        if isinstance(value, str) and value and value != "error":
            return value
    return None


def _botocore(error: BaseException) -> str | None:
    response = getattr(error, "response", None)
    code = (response.get("Error") or {}).get("Code") if type(response) is dict else None
    return code if isinstance(code, str) and code else None


def _azure(error: BaseException) -> str | None:
    code = getattr(getattr(error, "error", None), "code", None)
    return code if isinstance(code, str) and code else None
