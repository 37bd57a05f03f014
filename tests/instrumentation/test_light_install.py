"""The wheel alone, with nothing but the declared base dependencies, meters a call: what is not declared is not there."""

import os
import re
import shutil
import subprocess
import sys
import venv
from importlib.metadata import Distribution, distribution
from pathlib import Path

from tests.instrumentation.otlp_sink import OtlpSink

ROOT = Path(__file__).parents[2]

#: Enough of the OpenAI SDK for one call to pass its request layer; no provider client is anybody's dependency.
FAKE_CLIENT = """
class SyncAPIClient:
    base_url = type("URL", (), {"host": "api.openai.com", "port": None, "scheme": "https"})

    def request(self, cast_to, options, *, stream=False, stream_cls=None):
        usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
        return {"id": "chatcmpl-1", "model": "gpt-4o-2024-08-06", "choices": [], "usage": usage}


class AsyncAPIClient(SyncAPIClient):
    async def request(self, cast_to, options, *, stream=False, stream_cls=None):
        return {}
"""
PROGRAM = """
import spanledger.auto  # noqa: F401
from spanledger.instrumentation import attribute
from openai._base_client import SyncAPIClient

class Options:
    url, method, headers, json_data = "/chat/completions", "post", {}, {"model": "gpt-4o", "messages": []}

with attribute(tenant="acme"):
    assert SyncAPIClient().request(dict, Options())["id"] == "chatcmpl-1"
"""


def _closure(requirements: list[str]) -> dict[str, Distribution]:
    """The distributions that these requirements bring, without any extra, from those that are installed here."""
    found: dict[str, Distribution] = {}
    waiting = list(requirements)
    while waiting:
        requirement = waiting.pop()
        if "extra ==" in requirement or re.search(r'sys_platform == "win32"|platform_system == "Windows"', requirement):
            continue
        match = re.match(r"[A-Za-z0-9._-]+", requirement)
        assert match is not None
        name = match.group().lower().replace("_", "-")
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except ModuleNotFoundError:
            assert ";" in requirement, f"{name} is required but not installed here"
            continue
        waiting.extend(found[name].requires or ())
    return found


def test_the_wheel_alone_meters_a_call(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "dist"), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, text=True, timeout=250)
    wheel = next((tmp_path / "dist").glob("*.whl"))

    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    packages = next(environment.glob("lib/python*/site-packages"))
    shutil.unpack_archive(wheel, packages, "zip")
    metadata = next(packages.glob("spanledger-*.dist-info/METADATA")).read_text()
    required = re.findall(r"^Requires-Dist: (.*)$", metadata, re.MULTILINE)
    for installed in _closure(required).values():
        for file in installed.files or ():
            source = Path(str(installed.locate_file(file)))
            if ".." in file.parts or "__pycache__" in file.parts or not source.is_file():
                continue
            target = packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source)
    (packages / "openai").mkdir()
    (packages / "openai" / "__init__.py").touch()
    (packages / "openai" / "_base_client.py").write_text(FAKE_CLIENT)

    with OtlpSink() as sink:
        environ = {
            "PATH": os.environ["PATH"],
            "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
            "SPANLEDGER_RAISE_INTERNAL_ERRORS": "1",
        }
        command = [str(environment / "bin" / "python"), "-I", "-c", PROGRAM]
        done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=250)
        assert (done.returncode, done.stderr) == (0, "")
        sink.wait_for(1)
        attributes = {pair.key: pair.value for pair in sink.spans[0].attributes}
        assert attributes["gen_ai.usage.input_tokens"].int_value == 11
        assert attributes["spanledger.tenant"].string_value == "acme"
