"""What each package offers to others, written down: widening a face is a decision that somebody reads in a diff."""

import importlib

import pytest

FACES = {
    "instrumentation": ["LimitExceeded", "MissingExtra", "attribute", "instrument", "uninstrument"],
    "control": ["Change", "Control", "ControlError", "METADATA", "NotFound", "TABLES"],
    "prices": ["Call", "Prices", "Quote"],
    "limits": ["Check", "Limit", "LimitError", "Limits", "Standing", "Verdict"],
    "analytics": [
        "Extent", "Overview", "Projection", "Selection", "Totals", "connect", "errors", "extent", "latency", "latest_calls",
        "overview", "spend_by", "spend_over_time", "totals", "unpriced_models",
    ],
    "api": ["create_app"],
    "dashboard": ["PortInUse", "run"],
}  # fmt: skip


@pytest.mark.parametrize("package", FACES)
def test_the_public_face_of_a_package_is_this(package: str) -> None:
    module = importlib.import_module(f"spanledger.{package}")
    assert sorted(module.__all__) == sorted(FACES[package])
    for name in FACES[package]:
        assert getattr(module, name) is not None


def test_the_import_line_and_the_entry_point_lead_to_the_same_metering() -> None:
    from importlib.metadata import entry_points

    [ours] = [point for point in entry_points(group="opentelemetry_instrumentor") if point.name == "spanledger"]
    instrumentor = ours.load()
    assert hasattr(instrumentor, "instrument")
    [command] = [point for point in entry_points(group="console_scripts") if point.name == "spanledger"]
    assert command.value == "spanledger.cli:main"
