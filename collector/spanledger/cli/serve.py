"""`spanledger serve`: the collector and its API in one process and one event loop, until SIGINT or SIGTERM."""

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from spanledger.cli.addresses import Addresses
from spanledger.cli.libraries import prepare, started
from spanledger.cli.options import ApiPort, Config, DataOver, GrpcPort, HttpPort
from spanledger.cli.say import NO_KEY, fail

if TYPE_CHECKING:
    from spanledger.collector.config import Config as Configuration


def serve(
    config: Config = None,
    data: DataOver = None,
    grpc_port: GrpcPort = None,
    http_port: HttpPort = None,
    api_port: ApiPort = None,
    announce: Annotated[bool, typer.Option("--announce", hidden=True, help="Say where it listens as one line of JSON.")] = False,
) -> None:
    """Run the collector: OTLP over gRPC and HTTP in, the ledger, limits and the REST API.

    SIGINT or SIGTERM stops it cleanly within service.shutdown_grace, with exit code 0: what was acknowledged is posted or stays
    in the journal for the next start. Logs go to standard error.
    """
    prepare()
    _raise_file_limit()
    from spanledger.collector.config import ConfigError, load

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        loaded = load(config, os.environ, data=data, grpc_port=grpc_port, http_port=http_port, api_port=api_port)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            ended = runner.run(_serve(loaded, announce))
            if not ended:
                # The interpreter would wait for threads that are still at work. Whatever is on disk bears being cut off.
                logging.shutdown()
                sys.stdout.flush()
                os._exit(0)
    except ConfigError as error:
        fail(str(error))


def _raise_file_limit() -> None:
    """As many open files as the system allows: each connection is one, and the usual 1,024 are soon taken by slow senders."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        if soft != hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not on Windows
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _serve(config: "Configuration", announce: bool) -> bool:
    """Serve until told to stop; whether everything has ended by then."""
    from spanledger.cli.api_server import ApiServer
    from spanledger.collector.service import Collector

    told_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told_to_stop.set)

    # Counting a million users' limits, it would look a hundred times through all that has been counted: half of the time.
    gc.set_threshold(20_000, 20, 50)
    collector = Collector(config, os.environ)
    api = ApiServer.bound_to(config.api.host, config.api.port)
    told = asyncio.create_task(told_to_stop.wait())
    start = asyncio.create_task(collector.start())
    deadline: float | None = None
    try:
        await asyncio.wait({start, told}, return_when=asyncio.FIRST_COMPLETED)
        if not start.done():
            # It was bringing the journal into the ledger, and has acknowledged nothing yet.
            collector.abandon()
            logging.getLogger(__name__).warning("stopped before it was ready; the journal has what is not in the ledger yet")
            return False
        start.result()
        await api.start(collector)
        where = {**collector.addresses, "api": api.url, "data": str(config.data.absolute()), "pid": os.getpid()}
        addresses = Addresses.of({**where, "tls": config.http.tls is not None})
        collector.announce({"grpc": addresses.grpc, "http": addresses.http, "api": addresses.api})
        grace = config.settings.service.shutdown_grace
        told_to_up = {**asdict(addresses), "shutdown_grace": grace, "open_to_all": api.open_to_all}
        typer.echo(json.dumps(told_to_up) if announce else _lines(addresses, open_to_all=api.open_to_all))
        started()
        await told
        deadline = loop.time() + grace
    finally:
        if start.done():
            await api.stop()
            await collector.stop(None if deadline is None else deadline - loop.time())
    return not collector.unfinished


def _lines(addresses: Addresses, *, open_to_all: bool) -> str:
    return "\n".join(
        [
            f"OTLP/gRPC   {addresses.grpc}",
            f"OTLP/HTTP   {addresses.otlp}",
            f"API         {addresses.api}",
            f"ledger      {addresses.folder}",
            f"keys        {NO_KEY if open_to_all else 'needed'}",
        ]
    )
