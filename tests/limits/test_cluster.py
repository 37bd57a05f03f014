"""A Redis cluster: all counters lie on the one node that has their slot, whichever node the URL names and wherever they move."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator
from datetime import UTC, datetime
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
import redis

from spanledger.ledger.connect import connect
from spanledger.ledger.table import Ledger
from spanledger.limits import Check, Limits
from spanledger.limits.counters.redis_script import RedisScript
from tests.limits.made import Clock, FlatPrice, add, ask, control, stands, until
from tests.limits.redis_server import RedisServer

SLOTS = 16_384


class Cluster:
    """Three nodes without replicas, each with a third of the slots."""

    def __init__(self, folder: Path) -> None:
        self.nodes = []
        for number in range(3):
            (folder / str(number)).mkdir()
            self.nodes.append(RedisServer(folder / str(number), keeps=False, cluster=True))
        self.clients = [redis.Redis(port=node.port, decode_responses=True) for node in self.nodes]
        bounds = [0, SLOTS // 3, 2 * SLOTS // 3, SLOTS]
        for epoch, (client, (first, after)) in enumerate(zip(self.clients, pairwise(bounds), strict=True), 1):
            # Nodes of one epoch settle by and by which of them is newer, and a slot that moves meanwhile may go back.
            said(client, "CLUSTER", "SET-CONFIG-EPOCH", epoch)
            said(client, "CLUSTER", "ADDSLOTSRANGE", first, after - 1)
        for client, node in product(self.clients, self.nodes):
            said(client, "CLUSTER", "MEET", "127.0.0.1", node.port, node.bus)
        until(lambda: all(self._whole(client) for client in self.clients))
        self.slot = int(said(self.clients[0], "CLUSTER", "KEYSLOT", "{spanledger}:state"))
        self.owner = next(n for n, (first, after) in enumerate(pairwise(bounds)) if first <= self.slot < after)

    def move(self, to: int) -> None:
        """Give the counters' slot, with its keys, to another node."""
        ids = [said(client, "CLUSTER", "MYID") for client in self.clients]
        source, target = self.clients[self.owner], self.clients[to]
        said(target, "CLUSTER", "SETSLOT", self.slot, "IMPORTING", ids[self.owner])
        said(source, "CLUSTER", "SETSLOT", self.slot, "MIGRATING", ids[to])
        keys = said(source, "CLUSTER", "GETKEYSINSLOT", self.slot, 10_000)
        said(source, "MIGRATE", "127.0.0.1", self.nodes[to].port, "", 0, 5_000, "KEYS", *keys)
        for client in (target, source):
            said(client, "CLUSTER", "SETSLOT", self.slot, "NODE", ids[to])
        self.owner = to

    def close(self) -> None:
        for client in self.clients:
            client.close()
        for node in self.nodes:
            node.kill()

    def _whole(self, client: "redis.Redis") -> bool:
        told = said(client, "CLUSTER", "INFO")
        return "cluster_state:ok" in told and "cluster_known_nodes:3" in told


def said(by: "redis.Redis", *words: str | int) -> Any:
    """What a node answers to a command."""
    answer: Any = by.execute_command(*words)  # type: ignore[no-untyped-call]
    return answer


@pytest.fixture
def cluster(tmp_path: Path) -> Generator[Cluster]:
    made = Cluster(tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_a_limit_holds_over_a_cluster_whichever_node_is_asked_and_wherever_its_counters_move(
    cluster: Cluster, tmp_path: Path
) -> None:
    Ledger.open(tmp_path / "entries")
    clock = Clock(datetime.now(UTC))
    one, two, three = (
        Limits(control(tmp_path), FlatPrice(), clock=clock, history=lambda: connect(tmp_path), counters=node.url)
        for node in cluster.nodes
    )
    for of in (one, two, three):
        with connect(tmp_path) as connection:
            of.rebuild(connection)
    limit = add(one, amount=50, thresholds=[], on_failure="closed")
    for of in (two, three):
        of.keep()

    async def passed() -> int:
        answers = await asyncio.gather(*(of.ask(Check()) for of in (one, two, three) for _ in range(10)))
        for of in (one, two, three):
            await of.leave()
        return sum(answer.allowed for answer in answers)

    assert asyncio.run(passed()) == 30
    empty = [number for number, client in enumerate(cluster.clients) if client.dbsize() == 0]
    assert sorted([*empty, cluster.owner]) == [0, 1, 2]
    cluster.move(empty[0])
    assert ask(one) == "allow"
    assert asyncio.run(passed()) == 19
    assert stands(three, limit) == [((), 0, 50)]
    assert stands(three, add(three, amount=60)) == [((), 0, 50)]
    cluster.nodes[cluster.owner].kill()
    assert two.check(Check()).counters_away
    for of in (one, two, three):
        of.close()


@contextlib.asynccontextmanager
async def _answering(*answers: bytes) -> AsyncGenerator[int]:
    """The port of a node that gives each command its next answer, a moment after the one before."""
    gone = asyncio.Event()

    async def node(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"word\r\n")
            await asyncio.sleep(0.05)
            writer.write(answer)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.transport.abort()
        gone.set()

    async with await asyncio.start_server(node, "127.0.0.1", 0) as server:
        yield int(server.sockets[0].getsockname()[1])
        await asyncio.wait_for(gone.wait(), 30)


def test_what_is_asked_of_a_node_that_has_lost_the_counters_is_asked_of_the_other_however_late_it_says_so() -> None:
    async def run() -> list[str]:
        async with _answering(b"+one\r\n", b"+two\r\n") as there:
            moved = b"-MOVED 7 127.0.0.1:%d\r\n" % there
            async with _answering(moved, moved) as here:
                script = RedisScript(f"redis://127.0.0.1:{here}/0", "state")
                found = await asyncio.gather(*(script.fetch(name, "word") for name in ("first", "second")))
            await script.leave()
            script.close()
        return found

    assert asyncio.run(run()) == ["one", "two"]
