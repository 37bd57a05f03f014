"""What spans around calls claim beyond the calls that were counted below them: telemetry of some calls never came.

Asked of the ledger and flagged on no entry: whether calls are missing changes with each that still comes, and an entry does not.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb

from spanledger.collector.count.fingerprint import OUTPUT_TOLERANCE
from spanledger.collector.dialects import DIALECTS

#: Whose sums outlive the spans that bear them say nothing of what is below these.
_RUNNING = [dialect.name for dialect in DIALECTS if dialect.sums == "running"]
#: What is told of for so long a time may still be followed by its calls.
_STILL_COMING = timedelta(minutes=5)
#: So far back is looked.
LOOKED_BACK = timedelta(days=7)

# The largest claim of a trace, beside all that was counted in it or, told of in another trace, stands for records of it: what is
# below the span that claims is no more than that.
_MISSING = """
    with claims as (
        select trace_id, coalesce(scope_name, '') as scope, coalesce(scope_version, '') as version,
               coalesce(service, '') as service,
               coalesce(claimed_input_tokens, 0) as input, coalesce(claimed_output_tokens, 0) as output
        from entries
        where kind = 'duplicate' and rule = 'aggregate' and trace_id is not null and day >= $day and recorded_at < $settled
          and not list_contains($running, coalesce(dialect, ''))
    ),
    largest as (select distinct on (trace_id) * from claims order by trace_id, input + output desc, scope, version, service),
    stood_for as (
        select distinct entries.trace_id, entries.stands_for from entries semi join largest using (trace_id)
        where kind = 'duplicate' and rule <> 'aggregate' and day >= $day
    ),
    counted as (
        select trace_id, calls, input_tokens, output_tokens from entries semi join largest using (trace_id)
        where kind <> 'duplicate' and day >= $day
        union all
        select stood_for.trace_id, calls, input_tokens, output_tokens
        from stood_for join entries on entries.entry_id = stood_for.stands_for
        where day >= $day and entries.trace_id is distinct from stood_for.trace_id
    ),
    known as (
        select trace_id, sum(calls) as calls, coalesce(sum(input_tokens), 0) as input, coalesce(sum(output_tokens), 0) as output
        from counted group by all
    )
    select scope, version, service, count(*), sum(greatest(largest.input - coalesce(known.input, 0), 0))::bigint,
           sum(greatest(largest.output - coalesce(known.output, 0), 0))::bigint, max(trace_id)
    from largest left join known using (trace_id)
    where greatest(largest.input - coalesce(known.input, 0), largest.output - coalesce(known.output, 0))
          > $tolerance * greatest(coalesce(known.calls, 0), 1)
    group by all order by 4 desc, 1, 2, 3
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Traces of an emitter whose sums claim so many more tokens than were counted; `trace` is one of them."""

    scope: str
    version: str
    service: str
    traces: int
    input_tokens: int
    output_tokens: int
    trace: str

    @property
    def line(self) -> str:
        """What to do about it."""
        return (
            f"see one: spanledger inspect {self.trace}; the usual causes are sampling (OTEL_TRACES_SAMPLER), batches that were "
            "dropped (OTEL_BSP_MAX_QUEUE_SIZE), calls without usage, and a client that nothing instruments"
        )


def missing(connection: duckdb.DuckDBPyConnection, *, now: datetime | None = None) -> list[Missing]:
    """Of the last `LOOKED_BACK`, in the ledger of a connection from `spanledger.ledger.connect`; most traces first."""
    now = now or datetime.now(UTC)
    known = {
        "day": (now - LOOKED_BACK).date(),
        "settled": now - _STILL_COMING,
        "running": _RUNNING,
        "tolerance": OUTPUT_TOLERANCE,
    }
    rows = connection.execute(_MISSING, known).fetchall()
    names = ("scope", "version", "service", "traces", "input_tokens", "output_tokens", "trace")
    return [Missing(**dict(zip(names, row, strict=True))) for row in rows]
