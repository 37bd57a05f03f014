"""What a check costs: in process, over HTTP beside bare ASGI and FastAPI, through Redis, with many limits; and a rebuild.

    .venv/bin/python -m bench.limits [process http redis many served rebuild] [--seconds 5] [--entries 10000000]

Each figure stands beside its floor from the same run; on a shared machine read the ratios.
"""

import argparse
from collections.abc import Callable

from bench.limits.many import many
from bench.limits.over_http import over_http
from bench.limits.process import in_process
from bench.limits.rebuild import rebuild
from bench.limits.served import served
from bench.limits.through_redis import through_redis

PARTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "process": lambda told: in_process(told.seconds),
    "http": lambda told: over_http(told.seconds),
    "redis": lambda told: through_redis(told.seconds),
    "many": lambda told: many(told.seconds),
    "served": lambda told: served(told.seconds),
    "rebuild": lambda told: rebuild(told.entries),
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[*PARTS])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--entries", type=int, default=10_000_000)
    told = parser.parse_args()
    for part in told.parts:
        PARTS[part](told)
