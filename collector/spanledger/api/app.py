"""Puts the REST API together: `create_app(collector)`."""

from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from spanledger.api import checks, costs, health, limits
from spanledger.api.checks import Checks
from spanledger.api.problem import answer_problems

if TYPE_CHECKING:
    from spanledger.collector.service import Collector


class Api(FastAPI):
    """FastAPI, with the hot path in front of it."""

    checks: Checks | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.checks is None:
            await super().__call__(scope, receive, send)
        else:
            await self.checks(scope, receive, send)


def create_app(collector: "Collector") -> FastAPI:
    """The REST API of a running collector. Every answer is JSON, every error problem+json."""
    app = Api(
        title="Spanledger",
        version=str(health.version()["version"]),
        summary="What is spent on language models, and whether the next call may go ahead.",
        docs_url="/api/docs",
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    app.state.collector = collector
    answer_problems(app)
    for router in (health.router, checks.router, limits.router, costs.router):
        app.include_router(router)
    app.checks = Checks(super(Api, app).__call__, collector.limits)
    return app
