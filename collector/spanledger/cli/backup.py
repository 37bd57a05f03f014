"""`spanledger backup`, `restore` and `repair`: keep a copy, put it back, go on without what is damaged."""

from pathlib import Path
from typing import Annotated

import typer

from spanledger.cli.options import DEFAULT_DATA, Data
from spanledger.cli.say import fail, note


def backup(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the backup goes: new or empty.")],
    data: Data = DEFAULT_DATA,
) -> None:
    """Copy ledger, journal and control database as they are now, while the collector runs or not.

    What was acknowledged before the backup began is in it, once. A ledger in an object store, and a control database on a
    server, are not copied: they have backups of their own.
    """
    from spanledger.collector.backup import BackupError, back_up

    try:
        said = back_up(data, folder)
    except BackupError as error:
        fail(str(error))
    typer.echo(f"{said['entries']:,} entries in {said['files']:,} files ({said['bytes']:,} bytes) are backed up in {folder}")


def restore(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A backup, as `spanledger backup` made it.")],
    data: Data = DEFAULT_DATA,
) -> None:
    """Put a backup back into a data folder that is new or empty; start the collector on it afterwards."""
    from spanledger.collector.backup import BackupError
    from spanledger.collector.backup import restore as put_back

    try:
        said = put_back(folder, data)
    except BackupError as error:
        fail(str(error), hint="nothing that was there has been changed; --data names another folder")
    typer.echo(f"{said['entries']:,} entries of {said['made_at']} are in {data}")


def repair(data: Data = DEFAULT_DATA) -> None:
    """Go on without files of the ledger that are missing or were cut, and say what is lost with them.

    The rest is untouched. What is left of such files is moved to entries/_damaged. A file that can be put back from a
    backup should be put back instead.
    """
    from spanledger.ledger.opening import local_folder, location_of
    from spanledger.ledger.repair import repair as take_out
    from spanledger.ledger.table import LedgerError

    location = location_of(data)
    if location is None:
        fail(f"there is no ledger in {data}", hint="name its folder with --data")
    folder = local_folder(location)
    if folder is None:
        fail(f"the ledger {location} is in an object store, which sees to its files itself")
    try:
        found = take_out(folder)
    except LedgerError as error:
        fail(str(error))
    if not found:
        note("nothing is damaged")
    for one in found:
        typer.echo(f"taken out: {one}")
