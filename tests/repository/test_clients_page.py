"""The page of supported clients says what the code does, and the clients' lock file has them."""

import re
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from spanledger.instrumentation.providers import PROVIDERS
from tests.repository.clients_page import PAGE, page
from tests.repository.skeleton import ROOT, settings


def test_the_page_of_clients_is_not_stale() -> None:
    assert PAGE.read_text() == page(), "run: python -m tests.repository.clients_page"


def test_every_client_is_locked_in_the_newest_version_that_is_said_to_be_tested() -> None:
    locked = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements-clients.lock").read_text(), re.M))
    newest = {canonicalize_name(provider.client): provider.tested[1] for provider in PROVIDERS}
    assert {name: locked.get(name) for name in newest} == newest


def test_the_lock_of_the_clients_has_all_that_is_asked_for_with_hashes_and_no_address() -> None:
    text = (ROOT / "requirements-clients.lock").read_text()
    locked = {canonicalize_name(name): version for name, version in re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.M)}
    groups: Any = settings()["dependency-groups"]
    missing = []
    for required in map(Requirement, groups["clients"]):
        version = locked.get(canonicalize_name(required.name), "0")
        if not required.specifier.contains(Version(version), prereleases=True):
            missing.append(str(required))
    assert missing == [], "run: make lock"
    assert "://" not in text
    assert [block.split()[0] for block in re.split(r"\n(?=[A-Za-z0-9])", text.strip()) if "--hash=sha256:" not in block] == []


def test_versions_are_named_oldest_first() -> None:
    for provider in PROVIDERS:
        oldest, newest = map(Version, provider.tested)
        assert oldest <= newest, provider.name
