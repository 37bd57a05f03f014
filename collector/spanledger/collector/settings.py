"""What can be configured: one model per block of `otel-config.yaml`, with the defaults of the file in the repository."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from spanledger.collector.count.count_once import Counting
from spanledger.collector.exporter_settings import Exporters
from spanledger.collector.received import BODY_LIMIT, Signal
from spanledger.collector.recognise.assumptions import CachedInput
from spanledger.collector.recognise.attribution import Attribution
from spanledger.collector.setting_values import MIB, Address, Block, Bound, Names, RedisUrl, Seconds, Timeout, Url
from spanledger.prices.settings import Precedence, Profile
from spanledger.prices.settings import Settings as PriceSettings


class Listener(Block):
    """Where something listens."""

    endpoint: Address

    @property
    def host(self) -> str:
        """Without the brackets of an IPv6 address."""
        return self.endpoint.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """0 picks a free one."""
        return int(self.endpoint.rpartition(":")[2])

    def at_port(self, port: int | None) -> "Listener":
        """The same listener on another port; None changes nothing."""
        if port is None:
            return self
        return self.model_copy(update={"endpoint": f"{self.endpoint.rpartition(':')[0]}:{port}"})


class Tls(Block):
    """tls of a listener; with `client_ca_file`, senders must show a certificate that it signed."""

    cert_file: str
    key_file: str
    client_ca_file: str | None = None


class Grpc(Listener):
    """receivers.otlp.protocols.grpc"""

    endpoint: Address = "127.0.0.1:4317"
    tls: Tls | None = None
    max_concurrent_streams: Annotated[int, Field(gt=0)] = 1024
    handshake_timeout: Timeout = 10.0
    max_connection_idle: Timeout = 600.0


class Http(Listener):
    """receivers.otlp.protocols.http"""

    endpoint: Address = "127.0.0.1:4318"
    tls: Tls | None = None
    max_connections: Annotated[int, Field(gt=0)] = 4096
    read_header_timeout: Timeout = 10.0
    read_timeout: Timeout = 60.0
    idle_timeout: Timeout = 75.0


class Protocols(Block):
    """receivers.otlp.protocols"""

    grpc: Grpc = Grpc()
    http: Http = Http()


class Otlp(Block):
    """receivers.otlp"""

    protocols: Protocols = Protocols()
    max_body_size: Annotated[Bound, Field(le=BODY_LIMIT)] = BODY_LIMIT
    max_bytes_in_flight: Bound = 256 * MIB
    without_keys: Literal["loopback", "everywhere"] = "loopback"


class Receivers(Block):
    """receivers"""

    otlp: Otlp = Otlp()


class AttributionProcessor(Block):
    """processors.attribution: attributes that say whom a call is for, before those that are known anyway."""

    tenant: Names = ()
    project: Names = ()
    user: Names = ()
    agent: Names = ()
    session: Names = ()
    tags: Names = ()
    with_defaults: bool = True

    @model_validator(mode="after")
    def _patterns(self) -> "AttributionProcessor":
        self.made()
        return self

    def made(self) -> Attribution:
        """What `recognise` takes."""
        return Attribution(**self.model_dump())


class CachedInputRow(Block):
    """One row of processors.recognise.cached_input: where a source puts cached tokens, inside or outside of its input tokens."""

    scope: str
    provider: str = ""
    where: Literal["inside", "outside"]

    @model_validator(mode="after")
    def _fits(self) -> "CachedInputRow":
        self.made()
        return self

    def made(self) -> CachedInput:
        """What `recognise` takes."""
        return CachedInput(scope=self.scope, provider=self.provider, where=self.where)


class RecogniseProcessor(Block):
    """processors.recognise"""

    cached_input: Annotated[
        tuple[CachedInputRow, ...], BeforeValidator(lambda found: tuple(found) if isinstance(found, list) else found)
    ] = ()


class CountOnceProcessor(Block):
    """processors.count_once"""

    evidence_rows: Annotated[int, Field(gt=0)] = Counting().rows
    remember: Seconds = Counting().remember.total_seconds()
    quiet: Seconds = Counting().quiet.total_seconds()
    fingerprint: bool = Counting().fingerprint
    known_ids: Annotated[int, Field(gt=0)] = Counting().known_ids

    def made(self) -> Counting:
        """What `CountOnce` takes."""
        return Counting(
            rows=self.evidence_rows,
            remember=timedelta(seconds=self.remember),
            quiet=timedelta(seconds=self.quiet),
            fingerprint=self.fingerprint,
            known_ids=self.known_ids,
        )


class PricesProcessor(Block):
    """processors.prices"""

    profile: Profile = "production"
    precedence: dict[str, Precedence] = Field(default_factory=lambda: dict(PriceSettings().precedence))
    reported_when_unpriced: bool = True

    def made(self) -> PriceSettings:
        """What `open_prices` takes."""
        return PriceSettings(**self.model_dump())


class Processors(Block):
    """processors"""

    attribution: AttributionProcessor = AttributionProcessor()
    recognise: RecogniseProcessor = RecogniseProcessor()
    count_once: CountOnceProcessor = CountOnceProcessor()
    prices: PricesProcessor = PricesProcessor()


class Jwt(Block):
    """extensions.api.jwt: an OpenID Connect issuer whose tokens the API takes beside its own keys"""

    issuer: str
    audience: str
    jwks_url: str
    roles_claim: str = "roles"
    tenant_claim: str = "tenant"


class Api(Listener):
    """extensions.api"""

    endpoint: Address = "127.0.0.1:4380"
    requests_per_second: Annotated[int | float, Field(ge=0)] = 0  # of one key or token; 0 is no bound
    read_header_timeout: Timeout = 10.0
    read_timeout: Timeout = 60.0
    jwt: Jwt | None = None


class FileStorage(Block):
    """extensions.file_storage"""

    directory: str = "./spanledger-data"
    journal_limit: Bound = 4096 * MIB


class ControlDatabase(Block):
    """extensions.control"""

    url: Url | None = None


class Counters(Block):
    """extensions.counters"""

    url: RedisUrl | None = None


class Extensions(Block):
    """extensions"""

    api: Api = Api()
    file_storage: FileStorage = FileStorage()
    control: ControlDatabase = ControlDatabase()
    counters: Counters = Counters()
    tiers: tuple[dict[str, Any], ...] = ()
    limits: tuple[dict[str, Any], ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _lists(cls, found: Any) -> Any:
        if not isinstance(found, dict):
            return found
        lists = {name: tuple(found[name]) for name in ("tiers", "limits") if isinstance(found.get(name), list)}
        return {**found, **lists}


class Pipeline(Block):
    """service.pipelines.<signal>"""

    receivers: Names = ("otlp",)
    processors: Names = ("attribution", "recognise", "count_once", "prices")
    exporters: Names = ("ledger",)


class Service(Block):
    """service"""

    extensions: Names = ("api", "file_storage", "control", "counters", "tiers", "limits")
    shutdown_grace: Seconds = 20.0
    pipelines: dict[Signal, Pipeline] = Field(
        default={signal: Pipeline() for signal in ("traces", "logs", "metrics")}, min_length=1
    )


class Settings(Block):
    """The whole file."""

    receivers: Receivers = Receivers()
    processors: Processors = Processors()
    exporters: Exporters = Exporters()
    extensions: Extensions = Extensions()
    service: Service = Service()

    @property
    def handed_on(self) -> tuple[Signal, ...]:
        """The signals that go on to another backend as well."""
        return tuple(signal for signal, pipeline in self.service.pipelines.items() if "otlp" in pipeline.exporters)


class Config(BaseModel):
    """The settings together with what the command line says: what the collector is started with."""

    model_config = ConfigDict(frozen=True)

    settings: Settings = Settings()
    data: Path

    @property
    def grpc(self) -> Grpc:
        """The gRPC listener."""
        return self.settings.receivers.otlp.protocols.grpc

    @property
    def http(self) -> Http:
        """The HTTP listener."""
        return self.settings.receivers.otlp.protocols.http

    @property
    def api(self) -> Api:
        """The API's listener."""
        return self.settings.extensions.api

    @property
    def ledger(self) -> str:
        """URL or folder of the ledger's table."""
        return self.settings.exporters.ledger.url or str(self.data / "entries")

    @property
    def control(self) -> str | Path:
        """URL or file of the control database."""
        return self.settings.extensions.control.url or self.data / "control.sqlite"
