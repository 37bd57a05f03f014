"""The dashboard: pages over the ledger. `run(data=…)` makes this process its server."""

from spanledger.dashboard.start import PortInUse, run

__all__ = ["PortInUse", "run"]
