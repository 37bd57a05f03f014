"""Errors as RFC 9457 problem+json: what is wrong, in which field, and what to do."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import duckdb
import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from spanledger.control import NotFound
from spanledger.ledger.opening import LedgerError
from spanledger.limits import LimitError
from spanledger.limits.counters.counters import CountersAway

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
TYPE = "https://spanledger.dev/problems/"
TITLES = {
    400: "The request is not understood",
    401: "Who are you?",
    403: "You may not do that",
    404: "There is no such thing",
    405: "This cannot be done here",
    409: "That contradicts what is there",
    412: "It was changed meanwhile",
    413: "The request is too large",
    422: "A field is wrong",
    429: "Too many requests",
    500: "Something broke in the collector",
    503: "The collector is not ready",
}
#: How a full disk, or a quota that is used up, is told by SQLite, PostgreSQL, Python and the ledger's library.
_FULL = ("disk is full", "No space left on device", "os error 28", "Disk quota exceeded", "os error 122")
#: When to try again what needs an operator, or time.
RETRY_SECONDS = 30


class Problem(Exception):
    """An answer that is not what was asked for. `name` ends its type; `more` is added to the body."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        name: str | None = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})
        self.body = {
            "type": f"{TYPE}{name}" if name else "about:blank",
            "title": TITLES.get(status, "Error"),
            "status": status,
            "detail": detail,
            **more,
        }

    def answered(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body."""
        return self.status, {"content-type": MEDIA_TYPE, **self.headers}, orjson.dumps(self.body, default=str)

    def response(self) -> Response:
        return Response(orjson.dumps(self.body, default=str), self.status, self.headers, media_type=MEDIA_TYPE)


def broken(error: Exception) -> Problem:
    """500 for a fault of ours, 503 for a full disk; whoever asks for it writes to the log what it was."""
    return unwritable(error) or Problem(500, f"{type(error).__name__}; the collector's log has the details")


def unwritable(error: BaseException) -> Problem | None:
    """503 where the control database or the disk was to blame, for now; None where another thing was."""
    said, cause = "", cast(BaseException | None, error)
    while cause is not None:
        said, cause = f"{said} {cause}", cause.__cause__ or cause.__context__
    if any(text in said for text in _FULL):
        return _for_now("disk-full", "the collector's disk is full: nothing was changed; make room there, or try again later")
    if isinstance(error, OperationalError):
        return _for_now(
            "control-away", "the control database cannot be used just now: nothing was changed; the collector's log says why"
        )
    return None


def _for_now(name: str, detail: str) -> Problem:
    return Problem(503, detail, name=name, headers={"retry-after": str(RETRY_SECONDS)})


def wrong_field(field: str, text: str) -> Problem:
    """422 for one field."""
    return Problem(422, f"{field}: {text}", name="invalid-field", errors=[{"field": field, "message": text}])


def wrong_fields(errors: Sequence[Mapping[str, Any]], known: Iterable[str] = ()) -> Problem:
    """422 (or 400 where the body is no JSON at all) from what pydantic found. `known` are the fields of the body."""
    if any(error["type"] in ("json_invalid", "json_type") for error in errors):
        return Problem(
            400, f"the body is not JSON: {errors[0].get('ctx', {}).get('error', errors[0]['msg'])}", name="invalid-json"
        )
    found = [{"field": _field(error), "message": _says(error, known)} for error in errors]
    detail = "; ".join(f"{one['field']}: {one['message']}" for one in found)
    return Problem(422, detail, name="invalid-field", errors=found)


def _field(error: Mapping[str, Any]) -> str:
    """What is looked at before any field is names it itself."""
    parts = _parts(error["loc"])
    if error["type"] == "not_kept":
        parts.append(str(error["ctx"]["field"]))
    return ".".join(parts) or "body"


def _parts(loc: Sequence[Any]) -> list[str]:
    return [str(part) for part in loc if part not in ("body", "query", "path")]


def _says(error: Mapping[str, Any], known: Iterable[str]) -> str:
    if error["type"] == "missing":
        return "is required"
    if error["type"] == "extra_forbidden":
        # Of a list of bodies it is a field of one; of what stands deeper, the fields are others.
        names = ", ".join(known) if len([part for part in _parts(error["loc"]) if not part.isdigit()]) == 1 else ""
        return f"is no field here (known: {names})" if names else "is no field here"
    return str(error["msg"]).removeprefix("Value error, ")


def _fields(request: Request) -> Iterable[str]:
    """The fields of the body that an endpoint takes."""
    body = getattr(request.scope.get("route"), "body_field", None)
    return getattr(getattr(getattr(body, "field_info", None), "annotation", None), "model_fields", ())


def _documented(status: int, name: str, detail: str, **more: Any) -> dict[str, Any]:
    example = Problem(status, detail, name=name, **more).body
    return {"description": TITLES[status], "content": {MEDIA_TYPE: {"schema": _SCHEMA, "example": example}}}


_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {"type": "object", "properties": {"field": {"type": "string"}, "message": {"type": "string"}}},
        },
    },
}
#: What any endpoint may answer when something is wrong, for OpenAPI.
DOCUMENTED: dict[int | str, dict[str, Any]] = {
    401: _documented(401, "unauthorised", "a key is needed: Authorization: Bearer slk_…"),
    403: _documented(403, "forbidden", "key checkout (key_5f1c0e9a7b3d2c41) has not the role admin"),
    422: _documented(
        422, "invalid-field", "window.zone: 'Mars/Olympus' is not an IANA time zone such as Europe/Berlin",
        errors=[{"field": "window.zone", "message": "'Mars/Olympus' is not an IANA time zone such as Europe/Berlin"}],
    ),
}  # fmt: skip


def _of_a_file(error: Exception, reason: str) -> bool:
    """Whether a file may have gone bad: DuckDB names it, or says so with an error of no kind, as its reader of Parquet does.

    Of 954 reads of a file with changed bytes 395 failed with an error of no kind, such as "TProtocolException: Invalid data".
    """
    return type(error) is duckdb.Error or any(word in reason.lower() for word in ("parquet", "corrupt", "file might"))


def answer_problems(app: FastAPI) -> None:
    """Make every error of the app a problem+json."""

    @app.exception_handler(Problem)
    async def _problem(_: Request, error: Exception) -> Response:
        return error.response() if isinstance(error, Problem) else Problem(500, str(error)).response()

    @app.exception_handler(LimitError)
    async def _limit(_: Request, error: Exception) -> Response:
        assert isinstance(error, LimitError)  # noqa: S101
        return wrong_field(error.field, error.text).response()

    @app.exception_handler(CountersAway)
    async def _away(_: Request, error: Exception) -> Response:
        return Problem(503, str(error), name="counters-away", headers={"retry-after": "1"}).response()

    @app.exception_handler(LedgerError)
    async def _damaged(_: Request, error: Exception) -> Response:
        return (unwritable(error) or Problem(503, str(error), name="ledger-damaged")).response()

    @app.exception_handler(duckdb.Error)
    async def _unreadable(_: Request, error: Exception) -> Response:
        reason = str(error).partition("\n")[0]
        if not _of_a_file(error, reason):
            logger.error("a question to the ledger failed", exc_info=error)
            return broken(error).response()
        logger.error("a file of the ledger cannot be read, and all are looked at: %s", reason)
        app.state.collector.maintenance.suspect()
        return _for_now(
            "ledger-damaged", "a file of the ledger cannot be read; which one, `spanledger doctor` says soon"
        ).response()

    @app.exception_handler(OperationalError)
    @app.exception_handler(OSError)
    async def _unwritable(_: Request, error: Exception) -> Response:
        problem = broken(error)
        # The lines that follow have the statement's parameters.
        reason = str(error).partition("\n")[0]
        logger.error("a request was answered %d: %s", problem.status, reason, exc_info=error if problem.status == 500 else None)
        return problem.response()

    @app.exception_handler(NotFound)
    async def _missing(_: Request, error: Exception) -> Response:
        return Problem(404, str(error), name="not-found").response()

    @app.exception_handler(RequestValidationError)
    async def _request(request: Request, error: Exception) -> Response:
        return wrong_fields(error.errors() if isinstance(error, RequestValidationError) else [], _fields(request)).response()

    @app.exception_handler(ValidationError)
    async def _body(_: Request, error: Exception) -> Response:
        return wrong_fields(error.errors() if isinstance(error, ValidationError) else []).response()

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        detail = str(error.detail) if isinstance(error, HTTPException) else str(error)
        return Problem(status, detail, headers=getattr(error, "headers", None)).response()

    @app.exception_handler(500)
    async def _broken(_: Request, error: Exception) -> Response:
        return broken(error).response()
