"""Whether the collector lives, is ready, which version it is, and its metrics for Prometheus."""

import importlib.metadata
import platform
from typing import Any

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from spanledger.api.problem import Problem
from spanledger.ledger.schema import SCHEMA_VERSION

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="The process answers")
@router.get("/api/health", include_in_schema=False)
def healthz() -> dict[str, Any]:
    return {"status": "ok", "version": version()["version"]}


@router.get("/readyz", summary="It takes telemetry and answers checks")
def readyz(request: Request) -> dict[str, Any]:
    why_not = request.app.state.collector.ready()
    if why_not:
        raise Problem(503, str(why_not), name="not-ready", headers={"retry-after": "1"})
    return {"status": "ready"}


@router.get("/metrics", summary="Metrics in Prometheus' text format")
def metrics(request: Request) -> Response:
    return Response(generate_latest(request.app.state.collector.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/api/version", summary="Versions")
def version() -> dict[str, Any]:
    return {
        "version": importlib.metadata.version("spanledger"),
        "schema_version": SCHEMA_VERSION,
        "python": platform.python_version(),
        "prices": importlib.metadata.version("genai-prices"),
    }
