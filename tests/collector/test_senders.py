"""Who may send, and whose tenant counts."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc import aio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from spanledger.collector.config import ConfigError, load
from spanledger.collector.service import Collector
from spanledger.control import Control
from spanledger.control.keys import Keys
from spanledger.ledger.connect import connect
from tests.collector.made import call_span
from tests.collector.test_receive import EXPORT, PROTOBUF


def request_of(tenant: str) -> bytes:
    request = ExportTraceServiceRequest()
    call_span(request)
    request.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="spanledger.tenant").value.string_value = tenant
    return request.SerializeToString()


def test_with_keys_only_a_key_that_may_ingest_sends_and_its_tenant_wins(tmp_path: Path) -> None:
    control = Control.open(tmp_path / "control.sqlite")
    keys = Keys(control)
    sender, secret = keys.create("app", ["ingest"], who="test", tenant="acme")
    _, reading = keys.create("reader", ["read"], who="test")
    control.close()

    async def run() -> None:
        collector = Collector(load(None, {}, data=tmp_path, grpc_port=0, http_port=0, api_port=0))
        await collector.start()
        url = f"http://{collector.addresses['http']}/v1/traces"
        async with httpx.AsyncClient(headers=PROTOBUF, timeout=60) as client:
            for headers in (
                {},
                {"Authorization": "Bearer slk_nothing"},
                {"Authorization": f"Bearer {reading}"},
                {"Authorization": secret},
            ):
                answer = await client.post(url, content=request_of("globex"), headers=headers)
                assert answer.status_code == 401, headers
                assert secret.encode() not in answer.content
            known = {"Authorization": f"Bearer {secret}"}
            assert (await client.post(url, content=request_of("globex"), headers=known)).status_code == 200
        async with aio.insecure_channel(collector.addresses["grpc"]) as channel:
            export: Any = channel.unary_unary(EXPORT)
            with pytest.raises(aio.AioRpcError) as refused:
                await export(request_of("globex"))
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
            await export(request_of("globex"), metadata=(("authorization", f"Bearer {secret}"),))
        await collector.stop()

    asyncio.run(run())
    with connect(tmp_path) as connection:
        assert connection.execute("select tenant, api_key_id from entries").fetchall() == [("acme", sender.id)] * 2


def test_a_port_open_to_other_machines_needs_a_key_or_a_word(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"

    async def start(otlp: str) -> None:
        path.write_text(f"receivers: {{otlp: {{protocols: {{http: {{endpoint: '0.0.0.0:0'}}}}, {otlp}}}}}")
        collector = Collector(load(path, {}, data=tmp_path / "data", grpc_port=0, api_port=0))
        await collector.start()
        await collector.stop()

    with pytest.raises(ConfigError, match=r"http\.endpoint: 0\.0\.0\.0:0 is open to other machines and there is no key"):
        asyncio.run(start("max_body_size: 64MiB"))
    asyncio.run(start("without_keys: everywhere"))
