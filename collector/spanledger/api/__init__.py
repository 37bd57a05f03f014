"""REST: checks, limits, costs."""

from spanledger.api.app import create_app

__all__ = ["create_app"]
