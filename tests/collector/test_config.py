"""The configuration is read as written, or refused in one line that names the key."""

import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from spanledger.collector.config import ConfigError, load
from spanledger.collector.settings import Settings

REPOSITORY = Path(__file__).parents[2]


def test_the_file_in_the_repository_says_the_defaults() -> None:
    config = load(REPOSITORY / "otel-config.yaml", {})
    assert config.settings.model_dump() == Settings().model_dump()
    assert config == load(None, {})


def test_the_file_in_the_repository_names_every_key() -> None:
    text = (REPOSITORY / "otel-config.yaml").read_text()

    def keys(model: type[BaseModel]) -> set[str]:
        found = set(model.model_fields)
        for field in model.model_fields.values():
            within = (field.annotation, *get_args(field.annotation))
            found |= {key for each in within if isinstance(each, type) and issubclass(each, BaseModel) for key in keys(each)}
        return found

    named = keys(Settings)
    assert {"endpoint", "jwks_url", "ca_file"} <= named
    assert [key for key in sorted(named) if not re.search(rf"\b{key}:", text)] == []


def test_the_command_line_goes_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("receivers: {otlp: {protocols: {grpc: {endpoint: '[::1]:1234'}}}}")
    config = load(path, {}, data=tmp_path, grpc_port=0, api_port=99)
    assert (config.grpc.host, config.grpc.port, config.api.port, config.http.port) == ("::1", 0, 99, 4318)
    assert config.ledger == str(tmp_path / "entries")


def test_environment_variables_are_put_in_with_their_defaults_and_types(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "receivers: {otlp: {protocols: {grpc: {endpoint: '${env:HOST}:${env:PORT:-4317}'}}}}\n"
        "extensions:\n  control:\n    url: ${env:CONTROL:-sqlite:///x}\n"
        "  file_storage:\n    journal_limit: ${env:LIMIT}\n"
    )
    config = load(path, {"HOST": "10.0.0.1", "LIMIT": "1GiB"})
    assert config.grpc.endpoint == "10.0.0.1:4317"
    assert config.control == "sqlite:///x"
    assert config.settings.extensions.file_storage.journal_limit == 1024**3


HANDED_ON = "service: {pipelines: {traces: {exporters: [ledger, otlp]}}}"
WRONG = {
    "receivers: {otlp: {protocols: {grpc: {endpoint: 17}}}}": "1: receivers.otlp.protocols.grpc.endpoint: .*string.*17",
    "receivers:\n  otlp:\n    protocols:\n      grcp: {}": "4: receivers.otlp.protocols.grcp: there is no such key",
    "receiver: {}": "1: receiver: there is no such key",
    "extensions:\n  api:\n    endpoint: ${env:X}": "3: extensions.api.endpoint: the environment variable X is not set",
    "extensions:\n  api:\n    endpoint: localhost": "3: extensions.api.endpoint: 'localhost' is not host:port",
    "service:\n  pipelines:\n    trace: {}": "3: service.pipelines.trace: there is no such key",
    "service:\n  pipelines:\n    traces: {exporters: [x]}": "3: service.pipelines.traces.exporters: x is not defined",
    "service:\n  extensions: [apo]": "2: service.extensions: there is no extension apo",
    "service: {extensions: [api]}": "1: service.extensions: must list file_storage, which always runs",
    "service: {extensions: [api, file_storage, control, counters]}\nextensions:\n  limits: []": "3: extensions.limits: .*listed",
    "service: {pipelines: {logs: {exporters: []}}}": "1: service.pipelines.logs.exporters: must name ledger: it always runs",
    "service: {pipelines: {logs: {processors: [prices]}}}": "1: service.pipelines.logs.processors: must name attribution, recog",
    "service: {pipelines: {logs: {exporters: [ledger, otlp]}}}": "1: service.pipelines.logs.exporters: .*otlp is not set up",
    "exporters: {otlp: {endpoint: 'http://x:1'}}": "1: exporters.otlp: set up here, but named in no pipeline",
    f"exporters: {{otlp: {{endpoint: 'http://x:4317', protocol: grpc}}}}\n{HANDED_ON}": "1: exporters.otlp: .* not host:port",
    f"exporters: {{otlp: {{endpoint: 'http://x:65536'}}}}\n{HANDED_ON}": "1: exporters.otlp: Port out of range",
    "receivers: {otlp: {max_body_size: 0}}": "1: receivers.otlp.max_body_size: .*greater than 0",
    "exporters: {ledger: {retention: 99999999999d}}": "1: exporters.ledger.retention: .*less than",
    "extensions: {counters: {url: ''}}": "1: extensions.counters.url: .*is empty: give a URL, or leave the key out",
    "extensions: {control: {url: ' '}}": "1: extensions.control.url: .*is empty",
    "extensions: {counters: {url: 'http://x'}}": "1: extensions.counters.url: .*is not like redis://host:6379/0",
    "extensions: {counters: {url: 'http://me:secret@x'}}": "1: extensions.counters.url: .*, found 'http://…@x'",
    "extensions: {counters: {url: 'redis://x:port'}}": "1: extensions.counters.url: .*is not like redis://host:6379/0",
    "receivers: 3": "1: receivers: expected a block",
    "- 1": "1: expected the blocks",
    "a: [": "1: not YAML",
    "receivers: {}\nreceivers: {}": "2: receivers: this key is there twice",
    "extensions: {file_storage: {journal_limit: lots}}": "1: extensions.file_storage.journal_limit: 'lots' is not a size",
    "receivers: {otlp: {protocols: {http: {idle_timeout: 5}}}}": "1: receivers.otlp.protocols.http.idle_timeout: 5 has no unit",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_mistake_is_one_line_with_file_line_and_key(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"^{path}:{WRONG[text]}") as error:
        load(path, {})
    assert "\n" not in str(error.value)


def test_a_file_that_is_nested_without_end_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("receivers: &r {otlp: *r}")
    with pytest.raises(ConfigError, match="nested without end"):
        load(tmp_path / "c.yaml", {})


@pytest.mark.parametrize(
    ("endpoint", "itself"),
    [
        ("http://localhost:4318", True),
        ("http://127.0.0.1:4318/v1", True),
        ("http://0.0.0.0:4318", True),
        ("http://127.0.0.1:4319", False),
    ],
)
def test_what_came_in_is_never_handed_on_to_oneself(tmp_path: Path, endpoint: str, itself: bool) -> None:
    (tmp_path / "c.yaml").write_text(f"exporters: {{otlp: {{endpoint: '{endpoint}'}}}}\n{HANDED_ON}")
    if itself:
        with pytest.raises(ConfigError, match=r"exporters\.otlp\.endpoint: .* is this collector itself"):
            load(tmp_path / "c.yaml", {})
    else:
        assert load(tmp_path / "c.yaml", {}).settings.handed_on == ("traces",)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load(tmp_path / "nowhere.yaml", {})
