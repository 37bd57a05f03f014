"""Puts the REST API together: `create_app(collector)`."""

from typing import TYPE_CHECKING, Any

from fastapi import Depends, FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse

from spanledger.api import assumptions, checks, costs, health, keys, limits, prices, terms, tiers
from spanledger.api.access import Access, authorise, is_loopback
from spanledger.api.checks import Checks
from spanledger.api.json_bodies import JsonBodies
from spanledger.api.problem import DOCUMENTED, answer_problems
from spanledger.api.queries import known_query
from spanledger.api.tokens import Issuer
from spanledger.collector.config import ConfigError
from spanledger.collector.settings import Api as ApiSettings
from spanledger.control.keys import Keys

if TYPE_CHECKING:
    from spanledger.collector.service import Collector

ROUTERS = (
    health.router,
    checks.router,
    limits.router,
    tiers.router,
    terms.router,
    costs.router,
    assumptions.router,
    keys.router,
    prices.router,
)


def create_app(collector: "Collector") -> FastAPI:
    """The REST API of a running collector. Every answer is JSON, every error problem+json.

    Raises `ConfigError` when it would listen to other machines and nobody would have to say who they are.
    """
    api = collector.config.api
    held = Keys(collector.control)
    access = Access(held, issuer=_issuer(api), requests_per_second=api.requests_per_second)
    if access.open_to_all and not is_loopback(api.host):
        raise ConfigError(
            f"extensions.api.endpoint: {api.endpoint} can be reached from other machines and there is no key; "
            "make one with `spanledger keys create NAME --role admin`, or listen on 127.0.0.1"
        )
    app = FastAPI(
        title="Spanledger",
        version=str(health.version()["version"]),
        summary="What is spent on language models, and whether the next call may go ahead.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(authorise), Depends(known_query)],
        responses=DOCUMENTED,
    )
    app.state.collector = collector
    app.state.keys = held
    app.state.access = access
    app.state.checks = Checks(collector.limits, access)
    app.add_middleware(JsonBodies)
    answer_problems(app)
    for router in ROUTERS:
        app.include_router(router)

    @app.get("/api/openapi.json", include_in_schema=False)
    def openapi() -> dict[str, Any]:
        return app.openapi()

    @app.get("/api/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return get_swagger_ui_html(openapi_url="openapi.json", title="Spanledger")

    return app


def _issuer(api: ApiSettings) -> Issuer | None:
    return None if api.jwt is None else Issuer(**api.jwt.model_dump())
