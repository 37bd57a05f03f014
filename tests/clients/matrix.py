"""Runs the tests of each client with its oldest and its newest supported version, in an environment of their own each.

    python tests/clients/matrix.py [name …] [--version 1.2.3]

The versions are those of `Provider.tested`. An environment is made once under .venv-matrix/ and used again.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from spanledger.instrumentation.provider import Provider
from spanledger.instrumentation.providers import PROVIDERS

ROOT = Path(__file__).parents[2]
PARTS = ("instrumentation", "collector", "analytics", "dashboard")
TOOLS = ("pytest", "pytest-timeout", "grpcio", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")

#: What is installed beside a client, for the version that is tested; "" is for every version.
BESIDE: dict[str, dict[str, tuple[str, ...]]] = {
    "bedrock": {"": ("boto3", "aiobotocore"), "1.40.61": ("boto3", "aiobotocore", "aioboto3==15.5.0")},
    "huggingface": {"": ("numpy",), "0.36.0": ("aiohttp", "numpy")},
    "litellm": {"": ("boto3",)},
    "azure_inference": {"": ("aiohttp",)},
}


#: Clients whose tests run in the suite as well, because its environment has them.
ELSEWHERE: dict[str, tuple[str, ...]] = {
    "openai": ("test_openai_chat.py", "test_openai_operations.py"),
    "anthropic": ("test_anthropic_messages.py",),
}


def tests_of(provider: Provider) -> list[Path]:
    """Where a client's own tests are; the four of one generator share a file."""
    if provider.name in ELSEWHERE:
        return [ROOT / "tests" / "instrumentation" / name for name in ELSEWHERE[provider.name]]
    own = ROOT / "tests" / "clients" / f"test_{provider.name}.py"
    return [own if own.exists() else own.with_name("test_stainless.py")]


def environment(provider: Provider, version: str) -> Path:
    """The interpreter of an environment with this version."""
    folder = ROOT / ".venv-matrix" / f"{provider.name}-{version}"
    python = folder / "bin" / "python"
    if not (folder / "made").exists():
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
        beside = BESIDE.get(provider.name, {})
        wanted = [f"{provider.client}=={version}", *TOOLS, *beside.get(version, beside.get("", ()))]
        subprocess.run([*uv, "pip", "install", "--quiet", "--python", str(python), *wanted], check=True)
        (folder / "made").touch()
    return python


def run(provider: Provider, version: str) -> bool:
    """Whether all of the client's tests pass with this version; what does not is printed."""
    python = environment(provider, version)
    roots = os.pathsep.join(str(ROOT / part) for part in (".", *PARTS))
    command = [str(python), "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider"]
    command += [str(file) for file in tests_of(provider)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": roots}, capture_output=True, text=True)
    last = done.stdout.strip().splitlines()[-1:] or [done.stderr[-400:]]
    print(f"{provider.client} {version}: {last[0]}", flush=True)
    if done.returncode:
        print(
            "\n".join(line[:300] for line in done.stdout.splitlines() if line.startswith(("E  ", "FAILED", "ERROR"))), flush=True
        )
    return done.returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only these")
    parser.add_argument("--version", help="this version instead of those that are supported")
    asked = parser.parse_args()
    chosen = [provider for provider in PROVIDERS if not asked.names or provider.name in asked.names]
    good = [
        run(provider, version)
        for provider in chosen
        for version in sorted({asked.version} if asked.version else {*provider.tested})
    ]
    sys.exit(not all(good))


if __name__ == "__main__":
    main()
