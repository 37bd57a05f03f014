"""Decode what was received into columns: one frame of spans and log records, one of metric points.

A body that cannot be decoded never affects another: it is left out and named in `Telemetry.undecodable`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from spanledger.collector.received import Received


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A body that is no OTLP: its journal sequence and a sentence for the operator."""

    sequence: int
    reason: str


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What a batch of bodies holds, by columns. `seen` counts spans, log records and points, also those about no model."""

    spans: pl.DataFrame
    undecodable: tuple[Undecodable, ...]
    seen: int


def decode(bodies: Sequence[Received]) -> Telemetry:
    """Never raises because of what a body holds."""
    rows = []
    bad = []
    for body in bodies:
        if body.signal != "traces" or body.encoding != "protobuf":
            continue
        try:
            request = ExportTraceServiceRequest.FromString(body.body)
        except DecodeError as error:
            bad.append(Undecodable(body.sequence, f"not an OTLP {body.signal} request: {error}"))
            continue
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    attributes = {
                        a.key: str(getattr(a.value, a.value.WhichOneof("value") or "string_value")) for a in span.attributes
                    }
                    rows.append(
                        {
                            "trace_id": span.trace_id.hex(), "span_id": span.span_id.hex(), "parent_span_id": span.parent_span_id.hex() or None,
                            "scope_name": scope.scope.name, "scope_version": scope.scope.version,
                            "start": span.start_time_unix_nano // 1000, "end": span.end_time_unix_nano // 1000,
                            "error": span.status.code == 2, "received_at": body.received_at, "api_key_id": body.api_key_id or None,
                            "input_tokens": attributes.get("gen_ai.usage.input_tokens"),
                            "output_tokens": attributes.get("gen_ai.usage.output_tokens"),
                            "provider": attributes.get("gen_ai.provider.name", attributes.get("gen_ai.system")),
                            "model": attributes.get("gen_ai.response.model", attributes.get("gen_ai.request.model")),
                            "operation": attributes.get("gen_ai.operation.name"),
                            "hold_id": attributes.get("spanledger.hold.id"),
                            "tenant": attributes.get("spanledger.tenant"),
                        }
                    )  # fmt: skip
    return Telemetry(pl.DataFrame(rows, infer_schema_length=None), tuple(bad), len(rows))
