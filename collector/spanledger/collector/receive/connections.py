"""How many connections may be open, so that files are left to open for everything else."""

import logging
import resource

logger = logging.getLogger(__name__)


def within_files(wanted: int) -> int:
    """The connections over HTTP that were asked for, or fewer: a quarter of the files that this process may open is left to gRPC,
    the API, the journal and the ledger."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files == resource.RLIM_INFINITY or wanted <= files * 3 // 4:
        return wanted
    logger.warning(
        "receivers.otlp.protocols.http.max_connections is %d instead of %d: this process may open only %d files (ulimit -n)",
        files * 3 // 4, wanted, files,
    )  # fmt: skip
    return files * 3 // 4
