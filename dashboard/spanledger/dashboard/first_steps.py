"""What an empty ledger shows instead of figures: how the first call gets into it."""

import json
from pathlib import Path

from spanledger.dashboard.markup import text

_DEFAULTS = {"grpc": "127.0.0.1:4317", "http": "127.0.0.1:4318"}

_CARD = """
<section class="sl-card sl-empty">
  <h2>No calls yet</h2>
  <p>The ledger in <code>{data}</code> is empty. It fills by itself as soon as an application sends its telemetry here:</p>
  <ol>
    <li>In the environment of the application, install this package:<pre>pip install spanledger</pre></li>
    <li>As its first line:<pre>import spanledger.auto  # noqa: F401</pre></li>
    {elsewhere}<li>Make a call with the OpenAI or the Anthropic client. It is here a second or two later.</li>
  </ol>
  <p class="sl-note">Already using OpenTelemetry? Send its traces to {grpc} (gRPC) or {http} (HTTP).
  No key at hand? <code>spanledger demo --data {data}</code> plays a month of calls.</p>
</section>
"""


def first_steps(data: Path) -> str:
    """HTML, with the addresses of the collector over `data`; of the default ones when none runs on this machine."""
    found = {**_DEFAULTS, **_addresses(data)}
    elsewhere = ""
    if found["http"] != _DEFAULTS["http"]:
        elsewhere = f"<li>Start it with:<pre>OTEL_EXPORTER_OTLP_ENDPOINT=http://{text(found['http'])}</pre></li>"
    return _CARD.format(data=text(data), elsewhere=elsewhere, grpc=text(found["grpc"]), http=text(found["http"]))


def _addresses(data: Path) -> dict[str, str]:
    try:
        found = json.loads((data / "addresses.json").read_text())
        return {name: found[name] for name in _DEFAULTS if isinstance(found.get(name), str)}
    except (OSError, ValueError, AttributeError):
        return {}
