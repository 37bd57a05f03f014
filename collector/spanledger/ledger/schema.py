"""The one definition of an entry: everything else (table, views, docs, API fields) is derived from it.

Every measure is additive: `sum(calls)`, `sum(cost_usd)`, `sum(input_tokens)` are right over any range and
any grouping, with no join. Null means "not known", never zero. Units are in the names.
"""

from typing import Literal, get_args

import pyarrow as pa

SCHEMA_VERSION = 2

Kind = Literal["call", "duplicate", "reversal", "adjustment"]
CostState = Literal["priced", "unpriced", "free", "reported", "estimated"]
Outcome = Literal["ok", "error"]

KINDS: tuple[str, ...] = get_args(Kind)
COST_STATES: tuple[str, ...] = get_args(CostState)

MOMENT = pa.timestamp("us", tz="UTC")
MONEY = pa.decimal128(20, 12)
TEXT = pa.string()
COUNT = pa.int64()
AMOUNT = pa.float64()
FLAG = pa.bool_()
TAGS = pa.map_(pa.string(), pa.string())
METERS = pa.map_(pa.string(), pa.float64())
WORDS = pa.list_(pa.string())


def _column(name: str, kind: pa.DataType, says: str, *, null: bool = True) -> pa.Field:
    return pa.field(name, kind, nullable=null, metadata={"says": says})


#: The columns of an entry by group, in the order in which a reader meets them.
GROUPS: dict[str, tuple[pa.Field, ...]] = {
    "identity": (
        _column("entry_id", TEXT, "32 hex digits derived from what it describes: a second posting gives the same", null=False),
        _column("kind", TEXT, "call, duplicate, reversal or adjustment", null=False),
        _column("reason", TEXT, "why this entry exists, when it is not a plain call"),
        _column("rule", TEXT, "the rule by which it was suppressed or reversed"),
        _column("stands_for", TEXT, "entry_id of the entry that this one repeats, reverses or adjusts"),
        _column("trace_id", TEXT, "32 hex digits"),
        _column("span_id", TEXT, "16 hex digits"),
        _column("parent_span_id", TEXT, "16 hex digits"),
        _column("response_id", TEXT, "the provider's id of the response"),
        _column("request_id", TEXT, "the provider's id of the request"),
        _column("hold_id", TEXT, "the hold that a check left for this call"),
        _column("signal", TEXT, "traces, logs or metrics"),
        _column("dialect", TEXT, "which row of the dialect table read it"),
        _column("scope_name", TEXT, "instrumentation scope that emitted it"),
        _column("scope_version", TEXT, "version of that scope"),
        _column("granularity", TEXT, "call; aggregate or metric where nothing finer was sent"),
        _column("attempt", pa.int32(), "1 for the first attempt of a logical call, 2 for its first retry …"),
        _column("first_attempt", TEXT, "entry_id of the first attempt of the same logical call"),
    ),
    "time": (
        _column("occurred_at", MOMENT, "when the call began", null=False),
        _column("recorded_at", MOMENT, "when the ledger learned of it", null=False),
        _column("duration_seconds", AMOUNT, "from request to the end of the response"),
        _column("time_to_first_token_seconds", AMOUNT, "from request to the first chunk of a stream"),
        _column("day", pa.date32(), "UTC day of occurred_at; the table's partition", null=False),
    ),
    "who": (
        _column("tenant", TEXT, "the customer or organisation that is charged"),
        _column("project", TEXT, "project or cost centre"),
        _column("user", TEXT, "end user"),
        _column("agent", TEXT, "agent that made the call"),
        _column("session", TEXT, "conversation or session"),
        _column("environment", TEXT, "deployment environment"),
        _column("service", TEXT, "service.name of the emitter"),
        _column("api_key_id", TEXT, "id of the key the telemetry came in with"),
        _column("tags", TAGS, "free tags", null=False),
    ),
    "what": (
        _column("provider", TEXT, "who is paid, in OpenTelemetry's spelling"),
        _column("requested_model", TEXT, "the model that was asked for"),
        _column("model", TEXT, "the model that answered; the requested one where the answer names none"),
        _column("operation", TEXT, "chat, embeddings, …"),
        _column("variant", TEXT, "quality and size of the images or video made: hd/1024x1024, 720x1280"),
        _column("service_tier", TEXT, "the tier that served it"),
        _column("region", TEXT, "cloud region or data residency"),
        _column("server_address", TEXT, "host the request went to"),
        _column("batch", FLAG, "made through a batch API"),
        _column("streamed", FLAG, "answered as a stream"),
    ),
    "how much": (
        _column("calls", COUNT, "1 for a call, -1 for a reversal; re-rating moves a call by -1 and 1; else 0", null=False),
        _column("input_tokens", COUNT, "all input tokens, cached ones included"),
        _column("cache_read_tokens", COUNT, "of the input: read from the provider's cache"),
        _column("cache_write_tokens", COUNT, "of the input: written to the provider's cache"),
        _column("cache_write_5m_tokens", COUNT, "of the cache writes: kept five minutes"),
        _column("cache_write_1h_tokens", COUNT, "of the cache writes: kept an hour or longer"),
        _column("output_tokens", COUNT, "all output tokens, reasoning included"),
        _column("reasoning_tokens", COUNT, "of the output: reasoning"),
        _column("input_audio_tokens", COUNT, "of the input: audio"),
        _column("output_audio_tokens", COUNT, "of the output: audio"),
        _column("cache_read_audio_tokens", COUNT, "of the cache reads: audio"),
        _column("input_image_tokens", COUNT, "of the input: images"),
        _column("output_image_tokens", COUNT, "of the output: images"),
        _column("input_video_tokens", COUNT, "of the input: video"),
        _column("images", COUNT, "images made"),
        _column("audio_seconds", AMOUNT, "seconds of audio transcribed or spoken"),
        _column("video_seconds", AMOUNT, "seconds of video made"),
        _column("characters", COUNT, "characters spoken or translated"),
        _column("pages", COUNT, "document pages read"),
        _column("searches", COUNT, "web, file and rerank searches"),
        _column("requests", COUNT, "requests charged as such"),
        _column("other_meters", METERS, "meters without a column of their own", null=False),
    ),
    "money": (
        _column("cost_usd", MONEY, "what it costs under contract; null when unpriced"),
        _column("input_cost_usd", MONEY, "of the cost: input that was neither read from nor written to a cache"),
        _column("cache_read_cost_usd", MONEY, "of the cost: cache reads"),
        _column("cache_write_cost_usd", MONEY, "of the cost: cache writes"),
        _column("output_cost_usd", MONEY, "of the cost: output"),
        _column("other_cost_usd", MONEY, "of the cost: everything else"),
        _column("list_cost_usd", MONEY, "what it costs at list price"),
        _column("reported_cost_usd", MONEY, "what the sender claimed"),
        _column("cost_state", TEXT, "priced, unpriced, free, reported or estimated", null=False),
        _column("unpriced_reason", TEXT, "why there is no price"),
        _column("priced_as", TEXT, "provider/model of the price book that was used"),
        _column("price_match", TEXT, "how the name was matched: exact, alias, prefix …"),
        _column("price_revision", TEXT, "version and hash of the price book"),
        _column("flags", WORDS, "what is unusual or assumed about this entry", null=False),
    ),
    "outcome": (
        _column("outcome", TEXT, "ok or error", null=False),
        _column("error_type", TEXT, "provider code, HTTP status or exception class"),
        _column("finish_reason", TEXT, "why the model stopped"),
        _column("cut_short", FLAG, "the stream was left before its end"),
        _column("tokens_estimated", FLAG, "tokens were estimated, not reported"),
    ),
    "claimed": (
        _column("claimed_input_tokens", COUNT, "what a duplicate claimed"),
        _column("claimed_output_tokens", COUNT, "what a duplicate claimed"),
        _column("claimed_cost_usd", MONEY, "what a duplicate claimed"),
    ),
    "rest": (_column("attributes", TEXT, "remaining attributes as JSON; prompts and answers are dropped"),),
}

ENTRIES = pa.schema(
    [column for group in GROUPS.values() for column in group],
    metadata={"spanledger.schema_version": str(SCHEMA_VERSION)},
)

#: Measures that a reversal negates and a duplicate leaves at zero.
MEASURES: tuple[str, ...] = tuple(c.name for c in (*GROUPS["how much"], *GROUPS["money"]) if c.type in (COUNT, AMOUNT, MONEY))

#: The dimensions of "who" and "what" by which people group, filter and limit.
DIMENSIONS: tuple[str, ...] = (
    "tenant", "project", "user", "agent", "session", "environment", "service", "api_key_id",
    "provider", "model", "requested_model", "operation", "service_tier", "region",
)  # fmt: skip
