"""The options that commands share, so that each is spelled and explained once."""

from pathlib import Path
from typing import Annotated

import typer

#: The data folder of a command that reads: the default is where `spanledger up` keeps it.
Data = Annotated[Path, typer.Option("--data", metavar="DIR", envvar="SPANLEDGER_DATA", help="The folder of the ledger.")]

#: The data folder of a command that runs the collector: given, it wins over the configuration file.
DataOver = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="DIR", envvar="SPANLEDGER_DATA", show_default="./spanledger-data", help="The folder of the ledger."
    ),
]

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", show_default="built in", help="A configuration laid out like the OpenTelemetry Collector's."
    ),
]

GrpcPort = Annotated[
    int | None,
    typer.Option("--grpc-port", min=0, max=65535, metavar="N", show_default="4317", help="OTLP over gRPC; 0 picks a free one."),
]
HttpPort = Annotated[
    int | None,
    typer.Option("--http-port", min=0, max=65535, metavar="N", show_default="4318", help="OTLP over HTTP; 0 picks a free one."),
]
ApiPort = Annotated[
    int | None,
    typer.Option("--api-port", min=0, max=65535, metavar="N", show_default="4380", help="The REST API; 0 picks a free one."),
]

DEFAULT_DATA = Path("spanledger-data")
