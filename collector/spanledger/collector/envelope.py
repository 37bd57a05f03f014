"""Split export requests into resources, scopes and the single records they hold, without reading the records.

The three signals share the shape request → of resource → of scope → record, so one split serves spans, log records
and metrics, from protobuf and from JSON.
"""

import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from spanledger.collector import json_form, wire
from spanledger.collector.received import Received

#: As the receivers' limit: a body that grows beyond this is refused, not unpacked.
LARGEST_BODY = 64 * 1024 * 1024

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A body that is no OTLP: its journal sequence, and why."""

    sequence: int
    reason: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """Records inside a good body that cannot be read: their body's sequence, how many, and why."""

    sequence: int
    count: int
    reason: str


@dataclass(slots=True)
class Envelope:
    """Records as blobs, with the index of their body and the blobs of their resource and scope."""

    body: Numbers
    resource: pa.Array
    scope: pa.Array
    records: pa.Array


def unpacked(received: Received) -> bytes:
    """The body without its compression. Raises `ValueError` if it is no gzip or grows beyond `LARGEST_BODY`."""
    if received.compression == "identity":
        return received.body
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(received.body)) as file:
            body = file.read(LARGEST_BODY + 1)
    except (OSError, EOFError) as error:
        raise ValueError(f"the body is not the gzip it says it is: {error}") from error
    if len(body) > LARGEST_BODY:
        raise ValueError(f"the body unpacks to more than {LARGEST_BODY} bytes")
    return body


def split(bodies: Sequence[tuple[int, Received]]) -> tuple[Envelope, list[Undecodable], list[Rejected]]:
    """One envelope for bodies of one signal, each given with its index."""
    undecodable: list[Undecodable] = []
    rejected: list[Rejected] = []
    wires: list[tuple[int, bytes]] = []
    parts: list[Envelope] = []
    for index, received in bodies:
        try:
            body = unpacked(received)
            if received.encoding == "protobuf":
                wires.append((index, body))
                continue
            transcribed, refused = json_form.records(body, received.signal)
        except ValueError as error:
            undecodable.append(Undecodable(received.sequence, str(error)))
            continue
        rejected += [Rejected(received.sequence, count, reason) for reason, count in refused.items()]
        parts.append(
            Envelope(
                np.full(len(transcribed), index, dtype=np.int64),
                *(pa.array([record[part] for record in transcribed], type=pa.binary()) for part in range(3)),
            )
        )
    if wires:
        envelope, bad = _split_protobuf(wires)
        sequences = {index: received.sequence for index, received in bodies}
        undecodable += [Undecodable(sequences[index], f"not an OTLP request: {reason}") for index, reason in bad]
        parts.append(envelope)
    return _joined(parts), undecodable, rejected


def _split_protobuf(bodies: list[tuple[int, bytes]]) -> tuple[Envelope, list[tuple[int, str]]]:
    indexes = np.array([index for index, _ in bodies], dtype=np.int64)
    requests, bad = wire.read("Request", pa.array([body for _, body in bodies], type=pa.large_binary()).cast(pa.binary()))
    of_resource, body = _flat(requests.column(0))
    resource = of_resource.field("resource")
    of_scope, resource_index = _flat(of_resource.field("scopes"))
    scope = of_scope.field("scope")
    records, scope_index = _flat(of_scope.field("records"))
    resource_index = resource_index[scope_index]
    return (
        Envelope(
            indexes[body[resource_index]], resource.take(pa.array(resource_index)), scope.take(pa.array(scope_index)), records
        ),
        [(int(indexes[index]), reason) for index, reason in bad],
    )


def _flat(lists: pa.Array) -> tuple[pa.Array, Numbers]:
    """The elements of all lists, and for each the index of its list."""
    return lists.flatten(), pc.list_parent_indices(lists).to_numpy().astype(np.int64)


def _joined(parts: list[Envelope]) -> Envelope:
    if not parts:
        nothing = pa.array([], type=pa.binary())
        return Envelope(np.empty(0, dtype=np.int64), nothing, nothing, nothing)
    if len(parts) == 1:
        return parts[0]
    return Envelope(
        np.concatenate([part.body for part in parts]),
        pa.concat_arrays([part.resource for part in parts]),
        pa.concat_arrays([part.scope for part in parts]),
        pa.concat_arrays([part.records for part in parts]),
    )
