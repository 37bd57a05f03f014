"""Run a collector over a data folder until SIGTERM: what the tests start as a process."""

# ruff: noqa: E402  # the imports are what takes the time

import asyncio
import gc
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

gc.set_threshold(50_000, 20, 50)  # as the command does

import uvloop

from spanledger.collector.config import load
from spanledger.collector.decode.decode import Telemetry
from spanledger.collector.received import Received
from spanledger.collector.service import Collector
from spanledger.collector.steps import RealSteps


async def serve(data: Path, config: Path | None) -> None:
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    collector = Collector(load(config, os.environ, data=data, grpc_port=0, http_port=0, api_port=0))
    await collector.start()
    collector.announce({})
    print(json.dumps(collector.addresses), flush=True)
    await told.wait()
    await collector.stop()


def die_over(marker: bytes) -> None:
    """As if native code failed over bodies with these bytes: nothing of Python can catch that."""
    decode = RealSteps.decode

    def dying(self: RealSteps, bodies: Sequence[Received]) -> Telemetry:
        if any(marker in body.body for body in bodies):
            os.kill(os.getpid(), signal.SIGKILL)
        return decode(self, bodies)

    RealSteps.decode = dying  # type: ignore[method-assign]


if __name__ == "__main__":
    options = json.loads(sys.argv[2])
    if "dies_over" in options:
        die_over(options["dies_over"].encode())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(Path(sys.argv[1]), Path(options["config"]) if "config" in options else None))
