"""Made-up calls as OTLP spans in the OpenTelemetry GenAI conventions, delivered over HTTP as an exporter delivers them."""

import gzip
import http.client
import time
from collections.abc import Iterable, Sequence
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, Status

from spanledger.cli.demo.history import MadeCall

_ATTEMPTS = 30


class NotDelivered(Exception):
    """The collector refused a batch, or is not there; the text says which."""


class Delivery:
    """One kept-open connection to the OTLP/HTTP receiver at `address` (host:port)."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(address, timeout=60)

    def send(self, calls: Sequence[MadeCall], tags: dict[str, str]) -> None:
        """Deliver one batch, again and again while the collector asks for patience; raises `NotDelivered`."""
        body = gzip.compress(_request(calls, tags).SerializeToString(), 1)
        headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
        for attempt in range(_ATTEMPTS):
            try:
                self._connection.request("POST", "/v1/traces", body, headers)
                answer = self._connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                if attempt + 1 == _ATTEMPTS:
                    raise NotDelivered(f"the collector cannot be reached: {error}") from error
                time.sleep(0.5)
                continue
            if answer.status == 200:
                rejected = ExportTraceServiceResponse.FromString(text).partial_success
                if rejected.rejected_spans:
                    raise NotDelivered(f"{rejected.rejected_spans} spans were rejected: {rejected.error_message}")
                return
            if answer.status not in (429, 502, 503, 504):
                raise NotDelivered(f"the collector answered {answer.status}: {text[:200].decode(errors='replace')}")
            time.sleep(float(answer.headers.get("Retry-After", "1")))
        raise NotDelivered(f"the collector was busy {_ATTEMPTS} times in a row")

    def close(self) -> None:
        self._connection.close()


def _request(calls: Iterable[MadeCall], tags: dict[str, str]) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    resources: dict[tuple[str, str], ResourceSpans] = {}
    for call in calls:
        origin = (call.service, call.environment)
        if origin not in resources:
            resource = resources[origin] = request.resource_spans.add()
            resource.resource.attributes.extend(
                _attributes({"service.name": call.service, "deployment.environment.name": call.environment})
            )
            resource.scope_spans.add().scope.name = "spanledger.demo"
        resources[origin].scope_spans[0].spans.append(_span(call, tags))
    return request


def _span(call: MadeCall, tags: dict[str, str]) -> Span:
    start = round(call.started.timestamp() * 1_000_000) * 1_000
    told: dict[str, Any] = {
        "gen_ai.operation.name": call.operation,
        "gen_ai.provider.name": call.provider,
        "gen_ai.request.model": call.requested_model,
        "gen_ai.agent.name": call.agent,
        "gen_ai.conversation.id": call.session,
        "user.id": call.user,
        "spanledger.tenant": call.tenant,
        "spanledger.project": call.project,
        **{f"spanledger.tag.{name}": value for name, value in tags.items()},
    }
    if call.error:
        told["error.type"] = call.error
    else:
        told |= {
            "gen_ai.response.model": call.model,
            "gen_ai.response.id": f"demo-{call.span_id.hex()}",
            "gen_ai.usage.input_tokens": call.input_tokens,
        }
        if call.operation != "embeddings":
            told |= {"gen_ai.usage.output_tokens": call.output_tokens, "gen_ai.response.finish_reasons": ["stop"]}
    measured = {
        "gen_ai.usage.cache_read.input_tokens": call.cache_read_tokens,
        "gen_ai.usage.cache_creation.input_tokens": call.cache_write_tokens,
        "gen_ai.usage.reasoning.output_tokens": call.reasoning_tokens,
    }
    told |= {name: tokens for name, tokens in measured.items() if tokens}
    if call.first_token_seconds is not None:
        told |= {"gen_ai.request.stream": True, "gen_ai.response.time_to_first_chunk": call.first_token_seconds}
    return Span(
        trace_id=call.trace_id,
        span_id=call.span_id,
        name=f"{call.operation} {call.requested_model}",
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=start,
        end_time_unix_nano=start + round(call.seconds * 1e9),
        attributes=_attributes(told),
        status=Status(code=Status.STATUS_CODE_ERROR, message="refused by the provider") if call.error else None,
    )


def _attributes(told: dict[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in told.items()]


def _value(value: Any) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, list):
        made = AnyValue()
        made.array_value.values.extend(_value(part) for part in value)
        return made
    return AnyValue(string_value=value)
