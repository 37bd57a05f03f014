"""What a request may ask for behind the question mark: a filter that is misspelt must not answer with everything."""

from typing import Any

from fastapi import FastAPI, Request

from spanledger.api.problem import Problem, wrong_field
from spanledger.ledger.schema import DIMENSIONS

#: These take any dimension as a filter.
OF_DIMENSIONS = frozenset({"/api/summary", "/api/overview", "/api/calls"})
#: Probes and browsers put things of their own there.
FOR_ANYTHING = frozenset({"/healthz", "/readyz", "/metrics", "/api/health", "/api/version", "/api/openapi.json", "/api/docs"})
#: A client whose check is refused for what a proxy added would go on unchecked.
OF_CALLS = ("/api/checks", "/api/holds/")


def known_query(request: Request) -> None:
    """FastAPI's dependency on every route. Raises `Problem` for the first parameter that the endpoint does not take, and for NUL,
    which PostgreSQL does not look for."""
    route: Any = request.scope.get("route")
    if "\0" in request.scope["path"]:
        raise Problem(404, "no name has NUL in it", name="not-found")
    if not request.url.query or route is None or route.path in FOR_ANYTHING or route.path.startswith(OF_CALLS):
        return
    known = _taken(request.app, route.path_format, request.method.lower())
    filters = route.path in OF_DIMENSIONS
    for name, value in request.query_params.multi_items():
        if "\0" in value:
            raise wrong_field(name, "has NUL in it")
        if name in known or (filters and (name in DIMENSIONS or name.startswith("tag."))):
            continue
        listed = [*known, *((*DIMENSIONS, "tag.<key>") if filters else ())]
        raise wrong_field(name, f"is no parameter here (known: {', '.join(listed)})" if listed else "is no parameter here")


def _taken(app: FastAPI, path: str, method: str) -> list[str]:
    """As OpenAPI shows them, which FastAPI writes once."""
    described = app.openapi()["paths"].get(path, {}).get(method, {})
    return [one["name"] for one in described.get("parameters", ()) if one["in"] == "query"]
