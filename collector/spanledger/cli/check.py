"""`spanledger check`: may this call go ahead?"""

import json as as_text
from typing import Annotated, Any

import typer

from spanledger.cli.options import DEFAULT_DATA, Data

REFUSED = 3


def check(
    subject: Annotated[
        list[str] | None,
        typer.Argument(metavar="[DIM=VALUE...]", help="tenant=acme user=u-17 provider=openai model=gpt-4o tag.team=red"),
    ] = None,
    input_tokens: Annotated[int | None, typer.Option("--input-tokens", min=0, metavar="N", help="Cached ones included.")] = None,
    max_output_tokens: Annotated[int | None, typer.Option("--max-output-tokens", min=0, metavar="N", help="At most.")] = None,
    hold: Annotated[
        bool, typer.Option("--hold", help="Leave a hold, as a guarded client does; otherwise nothing is held.")
    ] = False,
    wait_ms: Annotated[int, typer.Option("--wait-ms", min=0, metavar="N", help="Wait so long for holds to settle.")] = 0,
    data: Data = DEFAULT_DATA,
    json: Annotated[bool, typer.Option("--json", help="The answer as JSON.")] = False,
) -> None:
    """Ask a running collector whether a call may go ahead. Leaves with 0 when it may, with 3 when it is refused.

    spanledger check tenant=acme provider=openai model=gpt-4o --input-tokens 1200 --max-output-tokens 500
    """
    from spanledger.cli.api_client import ApiClient
    from spanledger.cli.say import fail

    body: dict[str, Any] = {"input_tokens": input_tokens, "max_output_tokens": max_output_tokens, "wait_ms": wait_ms}
    body["dry_run"] = not hold
    for pair in subject or ():
        name, equals, value = pair.partition("=")
        if not equals:
            fail(f"{pair!r} is not DIM=VALUE", code=2)
        if name.startswith("tag."):
            body.setdefault("tags", {})[name[4:]] = value
        else:
            body[name] = value
    status, found = ApiClient(data).call("POST", "/api/checks", body, takes=(429,))
    if "verdict" not in found:
        fail(f"{found['detail']}: this check was not asked")
    if json:
        typer.echo(as_text.dumps(found, indent=2))
    elif status == 429:
        typer.echo(f"refuse: {found['detail']}; ask again in {found['retry_after_seconds']} s")
    else:
        typer.echo(found["verdict"] + (f" (hold {found['hold_id']} until {found['expires_at']})" if found["hold_id"] else ""))
        for warning in found["warnings"]:
            typer.echo(f"  {warning['says']}")
    raise typer.Exit(REFUSED if status == 429 else 0)
