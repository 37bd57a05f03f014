"""Read `otel-config.yaml`, or say in one line with file, line and key what is wrong with it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from spanledger.collector.itself import is_itself
from spanledger.collector.settings import Config, Pipeline, Settings

__all__ = ["Config", "ConfigError", "load"]

_VARIABLE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class ConfigError(Exception):
    """The configuration cannot be used; the message is one line that names the key."""


def load(
    path: Path | None,
    environ: Mapping[str, str],
    *,
    data: Path | None = None,
    grpc_port: int | None = None,
    http_port: int | None = None,
    api_port: int | None = None,
) -> Config:
    """The configuration of a file (None: the defaults), with the command line's ports and data folder over it."""
    settings = Settings() if path is None else _read(path, environ)
    otlp = settings.receivers.otlp
    protocols = otlp.protocols
    settings = settings.model_copy(
        update={
            "receivers": settings.receivers.model_copy(
                update={
                    "otlp": otlp.model_copy(
                        update={
                            "protocols": protocols.model_copy(
                                update={"grpc": protocols.grpc.at_port(grpc_port), "http": protocols.http.at_port(http_port)}
                            )
                        }
                    )
                }
            ),
            "extensions": settings.extensions.model_copy(update={"api": settings.extensions.api.at_port(api_port)}),
        }
    )
    config = Config(settings=settings, data=data or Path(settings.extensions.file_storage.directory))
    _check_hands_on(config)
    return config


def _check_hands_on(config: Config) -> None:
    """What is handed on to oneself would go round for ever."""
    exporter = config.settings.exporters.otlp
    if exporter is not None and is_itself(*exporter.place, (config.grpc.endpoint, config.http.endpoint)):
        raise ConfigError(f"exporters.otlp.endpoint: {exporter.endpoint} is this collector itself: name another backend")


def _read(path: Path, environ: Mapping[str, str]) -> Settings:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    lines: dict[tuple[str, ...], int] = {}
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        found = {} if root is None else _built(root, (), lines, path, environ)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError(f"{where}: not YAML: {getattr(error, 'problem', None) or error}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: nested without end") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path}:1: expected the blocks receivers, processors, exporters, extensions and service")
    try:
        settings = Settings.model_validate(_without_empty(found))
    except ValidationError as error:
        raise ConfigError(_one_line(error, lines, path)) from error
    _check_names(settings, found, lines, path)
    return settings


def _built(
    node: yaml.Node, at: tuple[str, ...], lines: dict[tuple[str, ...], int], path: Path, environ: Mapping[str, str]
) -> Any:
    lines[at] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        built: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            here = (*at, key)
            if key in built:
                raise ConfigError(f"{path}:{key_node.start_mark.line + 1}: {'.'.join(here)}: this key is there twice")
            built[key] = _built(value_node, here, lines, path, environ)
            lines[here] = key_node.start_mark.line + 1
        return built
    if isinstance(node, yaml.SequenceNode):
        return [_built(child, (*at, str(index)), lines, path, environ) for index, child in enumerate(node.value)]
    text = str(node.value)

    def replaced(found: re.Match[str]) -> str:
        name, default = found[1], found[2]
        if name in environ:
            return environ[name]
        if default is None:
            raise ConfigError(f"{path}:{lines[at]}: {'.'.join(at)}: the environment variable {name} is not set")
        return str(default)

    substituted = _VARIABLE.sub(replaced, text)
    if substituted == text or getattr(node, "style", None) is not None:  # a quoted scalar stays text
        return yaml.SafeLoader("").construct_object(node) if substituted == text else substituted
    return yaml.safe_load(substituted) if substituted.strip() else substituted


def _without_empty(found: dict[str, Any]) -> dict[str, Any]:
    """A block that is named and left empty (`grpc:`) takes its defaults, as in the OpenTelemetry Collector."""
    return {key: _without_empty(value) if isinstance(value, dict) else value for key, value in found.items() if value is not None}


def _one_line(error: ValidationError, lines: dict[tuple[str, ...], int], path: Path) -> str:
    first = error.errors()[0]
    keys = tuple(str(part) for part in first["loc"] if part != "[key]")
    line = next((lines[keys[:size]] for size in range(len(keys), -1, -1) if keys[:size] in lines), 1)
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "there is no such key"
    elif first["type"] in {"model_type", "model_attributes_type", "dict_type"}:
        message = f"expected a block of keys, found {first['input']!r}"
    elif "[key]" in first["loc"]:
        message = f"there is no such key ({message})"
    elif not message.startswith(repr(first["input"])) and not isinstance(first["input"], dict | list):
        # A URL may have a password in it, and this line stands in a log.
        message = f"{message}, found {re.sub('//[^/]*@', '//…@', repr(first['input']))}"
    return f"{path}:{line}: {'.'.join(keys)}: {message}"


def _check_names(settings: Settings, found: dict[str, Any], lines: dict[tuple[str, ...], int], path: Path) -> None:
    """What the service names must be there, and an extension that is set up must be named: it would silently do nothing."""

    def wrong(keys: tuple[str, ...], message: str) -> ConfigError:
        line = next((lines[keys[:size]] for size in range(len(keys), -1, -1) if keys[:size] in lines), 1)
        return ConfigError(f"{path}:{line}: {'.'.join(keys)}: {message}")

    for signal, pipeline in settings.service.pipelines.items():
        for block, names in _PIPELINE.items():
            listed = getattr(pipeline, block)
            here = ("service", "pipelines", signal, block)
            for name in listed:
                if name not in (*names, *_ALSO.get(block, ())):
                    raise wrong(here, f"{name} is not defined under {block}")
            # Each of them runs in any case, in this order: a list without one would say something that is not so.
            if tuple(name for name in listed if name in names) != names:
                why = "it always runs" if len(names) == 1 else "these always run, in this order"
                raise wrong(here, f"must name {', '.join(names)}: {why}")
        if "otlp" in pipeline.exporters and settings.exporters.otlp is None:
            raise wrong(("service", "pipelines", signal, "exporters"), "otlp is named here, but exporters.otlp is not set up")
    if settings.exporters.otlp is not None and not settings.handed_on:
        raise wrong(("exporters", "otlp"), "set up here, but named in no pipeline's exporters, so nothing would be handed on")
    extensions = set(type(settings.extensions).model_fields)
    for name in settings.service.extensions:
        if name not in extensions:
            raise wrong(("service", "extensions"), f"there is no extension {name}; there are {', '.join(sorted(extensions))}")
    for name in _ALWAYS:
        if name not in settings.service.extensions:
            raise wrong(("service", "extensions"), f"must list {name}, which always runs")
    if isinstance(found.get("service"), dict) and "extensions" in found["service"]:
        for name in found.get("extensions") or {}:
            if name not in settings.service.extensions:
                raise wrong(("extensions", name), "set up here, but not listed under service.extensions, so it would not run")


#: What a pipeline is made of; what it may name besides is in `_ALSO`.
_PIPELINE: dict[str, tuple[str, ...]] = {
    "receivers": ("otlp",),
    "processors": Pipeline().processors,
    "exporters": ("ledger",),
}
_ALSO = {"exporters": ("otlp",)}
_ALWAYS = ("api", "file_storage", "control", "counters")
