"""Split export requests into resources, scopes and the single records they hold, without reading or copying the records.

The three signals share the shape request → of resource → of scope → record, so one split serves spans, log records
and metrics, from protobuf and from JSON.
"""

import gzip
import io
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from dataclasses import field as made_by

import numpy as np
import pyarrow as pa

from spanledger.collector.decode import json_form
from spanledger.collector.decode.cut import cut
from spanledger.collector.decode.walk import PADDING, Bytes, Ints, varint
from spanledger.collector.decode.wellformed import plainly_written
from spanledger.collector.received import BODY_LIMIT, Received

#: First byte of a field that holds a message, by its number.
_FIRST, _SECOND = 0x0A, 0x12
#: Records of several bodies that are split at once, at most; each takes 100 bytes, however small it is.
_MOST_RECORDS = 150_000


class Crowded(Exception):
    """Several bodies hold so many records that fewer of them are to be decoded at once."""


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
class Around:
    """The distinct resources and scopes of a batch, as sent; records know them by their number."""

    resources: dict[bytes, int] = made_by(default_factory=dict)
    scopes: dict[bytes, int] = made_by(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Envelope:
    """Records where they stand in `data`, with the number of their body, resource and scope.

    Those of one `block` stand one behind another: they came in one message of a scope's records.
    """

    around: Around
    data: Bytes
    body: Ints
    resource: Ints
    scope: Ints
    block: Ints
    begin: Ints
    end: Ints

    def __len__(self) -> int:
        return len(self.body)

    def chosen(self, which: Ints) -> "Envelope":
        """Those of the records, in the same buffer."""
        if len(which) == len(self):
            return self
        return replace(
            self, body=self.body[which], resource=self.resource[which], scope=self.scope[which], block=self.block[which],
            begin=self.begin[which], end=self.end[which],
        )  # fmt: skip

    def records(self) -> pa.Array:
        """The records themselves."""
        return cut(pa.py_buffer(self.data), self.begin, self.end)


def unpacked(received: Received) -> bytes:
    """The body without its compression. Raises `ValueError` if it is no gzip or grows beyond `BODY_LIMIT`."""
    if received.compression == "identity":
        return received.body
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(received.body)) as file:
            body = file.read(BODY_LIMIT + 1)
    except (OSError, EOFError) as error:
        raise ValueError(f"the body is not the gzip it says it is: {error}") from error
    if len(body) > BODY_LIMIT:
        raise ValueError(f"the body unpacks to more than {BODY_LIMIT} bytes")
    return body


def split(
    bodies: Sequence[tuple[int, Received]], around: Around, *, bounded: bool = False
) -> tuple[Envelope, list[Undecodable], list[Rejected]]:
    """One envelope for bodies of one signal, each given with its index; their resources and scopes are noted in `around`.

    Raises `Crowded` when it is `bounded`.
    """
    undecodable: list[Undecodable] = []
    rejected: list[Rejected] = []
    found = _Split(around)
    for index, received in bodies:
        if bounded and found.records > _MOST_RECORDS:
            raise Crowded
        try:
            body = unpacked(received)
            if received.encoding == "protobuf":
                if not found.add(index, body):  # groups, say: nobody sends them, and protobuf's own reader passes them by
                    found.add(index, plainly_written(received.signal, body))
                continue
            transcribed, refused = json_form.records(body, received.signal)
        except ValueError as error:
            undecodable.append(Undecodable(received.sequence, str(error)))
            continue
        rejected += [Rejected(received.sequence, count, reason) for reason, count in refused.items()]
        found.add_transcribed(index, transcribed)
    return found.envelope(), undecodable, rejected


class _Split:
    def __init__(self, around: Around) -> None:
        self._around = around
        self._pieces: list[bytes] = []
        self._size = 0
        self._begin, self._end = array("q"), array("q")
        #: Of each block: body, resource, scope, and how many records.
        self._blocks: list[tuple[int, int, int, int]] = []

    @property
    def records(self) -> int:
        """How many were added."""
        return len(self._begin)

    def add(self, index: int, body: bytes) -> bool:
        """The records of a request in protobuf; whether it could be followed to its end, otherwise none are added."""
        known, blocks = len(self._begin), len(self._blocks)
        try:
            at, end = 0, len(body)
            while at < end:
                tag, begin, at = field(body, at, end)
                if tag == _FIRST:
                    self._of_resource(index, body, begin, at)
        except IndexError:
            del self._begin[known:], self._end[known:], self._blocks[blocks:]
            return False
        self._pieces.append(body)
        self._size += len(body)
        return True

    def add_transcribed(self, index: int, records: Sequence[json_form.Record]) -> None:
        """Records that were written in protobuf one by one."""
        for resource, scope, record in records:
            self._begin.append(self._size)
            self._size += len(record)
            self._end.append(self._size)
            self._pieces.append(record)
            self._blocks.append((index, _number(self._around.resources, resource), _number(self._around.scopes, scope), 1))

    def envelope(self) -> Envelope:
        """All that was added."""
        blocks = np.array(self._blocks, dtype=np.int64).reshape(-1, 4)
        block = np.repeat(np.arange(len(blocks)), blocks[:, 3])
        body, resource, scope, _ = blocks[block].T
        data = np.frombuffer(b"".join([*self._pieces, bytes(PADDING)]), dtype=np.uint8)
        begin, end = (np.frombuffer(places, dtype=np.int64) for places in (self._begin, self._end))
        return Envelope(self._around, data, body, resource, scope, block, begin, end)

    def _of_resource(self, index: int, body: bytes, at: int, end: int) -> None:
        resource, scopes = b"", []
        while at < end:
            tag, begin, at = field(body, at, end)
            if tag == _SECOND:
                scopes.append((begin, at))
            elif tag == _FIRST:
                resource += body[begin:at]
        number = _number(self._around.resources, resource)
        for begin, stop in scopes:
            known = len(self._begin)
            scope = self._of_scope(body, begin, stop)
            if count := len(self._begin) - known:
                self._blocks.append((index, number, _number(self._around.scopes, scope), count))

    def _of_scope(self, body: bytes, at: int, end: int) -> bytes:
        """Notes the records of a scope; gives the scope. One turn for each record: it is kept short."""
        begins, ends, shift = self._begin, self._end, self._size
        scope = b""
        while at < end:
            if body[at] == _SECOND:
                size = body[at + 1]
                at += 2
                if size > 127:
                    if (more := body[at]) > 127:
                        size, at = varint(body, at - 1)
                    else:
                        size, at = size + (more << 7) - 128, at + 1
                begins.append(shift + at)
                at += size
                if at > end:
                    raise IndexError("a record is longer than what holds it")
                ends.append(shift + at)
            else:
                tag, begin, at = field(body, at, end)
                if tag == _FIRST:
                    scope += body[begin:at]
        return scope


def field(body: bytes, at: int, end: int) -> tuple[int, int, int]:
    """Tag, begin and end of the field that begins here; raises `IndexError` when there is none."""
    tag = body[at]
    if tag & 0x87 == 2 and tag > 7:  # nearly all are messages, of a length in one or two bytes
        size = body[at + 1]
        begin = at + 2
        if size > 127:
            if (more := body[begin]) > 127:
                size, begin = varint(body, at + 1)
            else:
                size, begin = size + (more << 7) - 128, begin + 1
        stop = begin + size
    else:
        tag, begin = varint(body, at)
        kind = tag & 7
        if kind == 2:
            size, begin = varint(body, begin)
            stop = begin + size
        elif kind == 0:
            _, stop = varint(body, begin)
        elif kind in (1, 5):
            stop = begin + (8 if kind == 1 else 4)
        else:
            raise IndexError(f"a field of wire type {kind}")
        if tag < 8:
            raise IndexError("a field without a number")
    if stop > end:
        raise IndexError("a field is longer than what holds it")
    return tag, begin, stop


def _number(known: dict[bytes, int], blob: bytes) -> int:
    return known.setdefault(blob, len(known))
