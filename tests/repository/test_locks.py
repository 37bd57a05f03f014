"""The lock files carry what pyproject.toml asks for, whole and from no particular place."""

import re
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.repository.skeleton import ROOT, settings

LOCKS = ("requirements.lock", "requirements-oldest.lock")

each_lock = pytest.mark.parametrize("lock", LOCKS)


def wanted() -> list[Requirement]:
    project: Any = settings()
    lines = [
        *project["project"]["dependencies"],
        *(line for extra in project["project"]["optional-dependencies"].values() for line in extra),
        *project["dependency-groups"]["dev"],
    ]
    return [required for required in map(Requirement, lines) if required.name != "spanledger"]


def locked(lock: str) -> dict[str, list[Version]]:
    found: dict[str, list[Version]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (ROOT / lock).read_text(), re.M):
        found.setdefault(canonicalize_name(name), []).append(Version(version))
    return found


@each_lock
def test_everything_that_is_asked_for_is_locked_to_a_version_that_fits(lock: str) -> None:
    versions = locked(lock)
    stale = [
        str(required)
        for required in wanted()
        if not any(required.specifier.contains(v, prereleases=True) for v in versions.get(canonicalize_name(required.name), []))
    ]
    assert stale == [], "run: make lock"


@each_lock
def test_every_locked_package_has_its_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    blocks = re.split(r"\n(?=[A-Za-z0-9])", text.strip())
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert "://" not in text


def test_the_oldest_lock_takes_the_lower_bounds_themselves() -> None:
    versions = locked("requirements-oldest.lock")
    newer = []
    for required in wanted():
        lowest = next(Version(spec.version) for spec in required.specifier if spec.operator == ">=")
        oldest = min(versions[canonicalize_name(required.name)])
        if oldest.release[: len(lowest.release)] != lowest.release:
            newer.append(f"{required} is locked to {oldest}")
    assert newer == [], "a lower bound that cannot be installed is no lower bound: raise it in pyproject.toml"


def test_no_registry_is_named_anywhere_in_the_repository() -> None:
    hosts = re.compile("|".join(("py" + "pi" + r"\.org", "python" + "hosted", "py" + "pi" + "-proxy")))
    from tests.repository.test_tree import tracked

    named = []
    for path in tracked("*"):
        if path.suffix in {".png", ".pb", ".gz", ".ico", ".woff2"} or not path.is_file():
            continue
        if hosts.search(path.read_text(errors="replace")):
            named.append(str(Path(path).relative_to(ROOT)))
    assert named == []
