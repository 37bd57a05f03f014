"""The control database's tables. Every table has a text primary key `id`, by which the audit names its rows."""

import sqlalchemy as sa

from spanledger.control.columns import Exact, Moment

METADATA = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: Of a key's name with its id, or of a token's subject, the audit keeps so much: PostgreSQL insists on a column's width.
LONGEST_WHO = 200

audit = sa.Table(
    "audit",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("at", Moment, nullable=False, index=True),
    sa.Column("who", sa.String(LONGEST_WHO), nullable=False),
    sa.Column("action", sa.String(20), nullable=False, comment="insert, update, delete or note"),
    sa.Column("table_name", sa.String(63), nullable=False),
    sa.Column("row_id", sa.String(200), nullable=False),
    sa.Column("was", sa.JSON, comment="the row before; null for an insert"),
    sa.Column("is", sa.JSON, comment="the row after; null for a delete"),
    sa.Column("why", sa.Text),
    sa.Index("ix_audit_table_name_row_id", "table_name", "row_id"),
)

limits = sa.Table(
    "limits",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(200), nullable=False, unique=True),
    sa.Column("source", sa.String(20), nullable=False, comment="config or api: who may change it"),
    sa.Column("selectors", sa.JSON, nullable=False, comment="dimension → list of patterns, all of which must match"),
    sa.Column("per", sa.JSON, nullable=False, comment="dimensions whose every value has a bucket of its own"),
    sa.Column("measure", sa.String(20), nullable=False),
    sa.Column("window", sa.JSON, nullable=False),
    sa.Column("amount", Exact, nullable=False),
    sa.Column("hard", sa.Boolean, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("rest", sa.JSON, nullable=False, comment="settings with a default: grace, thresholds, action, hold …"),
    sa.Column("tier", sa.String(200), index=True),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
)

tiers = sa.Table(
    "tiers",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(200), nullable=False, unique=True),
    sa.Column("dimension", sa.String(200), nullable=False, comment="whose values are assigned to it: tenant, user …"),
    sa.Column("is_default", sa.Boolean, nullable=False, comment="takes in every value that no other tier has"),
    sa.Column("members", sa.JSON, nullable=False, comment="values; abc* is a prefix"),
    sa.Column("description", sa.Text),
    sa.Column("source", sa.String(20), nullable=False, server_default="api", comment="api or config"),
)

pauses = sa.Table(
    "pauses",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("selectors", sa.JSON, nullable=False, comment="whose calls are refused"),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("limit_id", sa.String(64), comment="the limit that paused them; null when a person did"),
    sa.Column("since", Moment, nullable=False),
    sa.Column("until", Moment, comment="null: until someone resumes it"),
)

grants = sa.Table(
    "grants",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("limit_id", sa.String(64), nullable=False, index=True),
    sa.Column("kind", sa.String(20), nullable=False, comment="top_up: added to the amount; override: instead of it"),
    sa.Column("subject", sa.JSON, comment="the bucket it is for, as per-dimension values; null: every bucket"),
    sa.Column("amount", Exact, nullable=False),
    sa.Column("valid_from", Moment, nullable=False),
    sa.Column("expires_at", Moment, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)

resets = sa.Table(
    "resets",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("limit_id", sa.String(64), nullable=False, index=True),
    sa.Column("subject", sa.JSON, nullable=False, comment="the bucket's values, in the order of the limit's per"),
    sa.Column("at", Moment, nullable=False),
    sa.Column("forgotten", sa.JSON, nullable=False, comment="[[moment in µs, units]]: what the bucket had counted until then"),
    sa.Column("reason", sa.Text, nullable=False),
)

keys = sa.Table(
    "keys",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("prefix", sa.String(20), nullable=False, comment="the first characters of the key, to tell it by"),
    sa.Column("hash", sa.String(64), nullable=False, unique=True, info={"secret": True}, comment="SHA-256 of the whole key"),
    sa.Column("roles", sa.JSON, nullable=False, comment="ingest, check, read, admin"),
    sa.Column("tenant", sa.String(200), comment="the only tenant it speaks for; null: any"),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("expires_at", Moment),
    sa.Column("revoked_at", Moment),
    sa.Column("last_used_at", Moment),
)

price_rules = sa.Table(
    "price_rules",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("layer", sa.String(20), nullable=False, comment="contract, site or default"),
    sa.Column("scope", sa.String(300), nullable=False, comment="tenant:NAME, project:NAME, key:ID, tag:NAME=VALUE; empty: all"),
    sa.Column("provider", sa.String(100), nullable=False),
    sa.Column("model", sa.String(300), nullable=False),
    sa.Column("tier", sa.String(50), nullable=False),
    sa.Column("region", sa.String(100), nullable=False),
    sa.Column("valid_from", Moment),
    sa.Column("valid_to", Moment),
    sa.Column("hours", sa.String(11), nullable=False),
    sa.Column("weekdays", sa.String(40), nullable=False),
    sa.Column("over_tokens", sa.BigInteger),
    sa.Column("upto_tokens", sa.BigInteger),
    sa.Column("rates", sa.JSON, nullable=False, comment="unit → USD, as decimal text"),
    sa.Column("multiplier", Exact),
    sa.Column("same_as", sa.String(400), nullable=False),
    sa.Column("monthly_usd", Exact, comment="a fixed cost a month, whatever is used"),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("author", sa.String(200), nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("supersedes", sa.String(64), index=True, comment="the rule it was made in place of"),
    sa.Column("superseded_at", Moment, index=True, comment="null: in force"),
)

price_books = sa.Table(
    "price_books",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True, comment="SHA-256 of what the book says"),
    sa.Column("name", sa.String(100), nullable=False, comment="genai-prices, litellm or models.dev"),
    sa.Column("version", sa.String(100), nullable=False),
    sa.Column("file", sa.String(400), comment="in the data folder; null: the one that is installed"),
    sa.Column("models", sa.Integer, nullable=False),
    sa.Column("loaded_at", Moment, nullable=False),
    sa.Column("loaded_by", sa.String(200), nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("in_use", sa.Boolean, nullable=False),
)

#: Beside the rows, as nobody lists them and the audit does not repeat them.
price_book_files = sa.Table(
    "price_book_files",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True, comment="of its row in price_books"),
    sa.Column("content", sa.LargeBinary, nullable=False, comment="as it was loaded"),
)

reratings = sa.Table(
    "reratings",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("at", Moment, nullable=False),
    sa.Column("who", sa.String(200), nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("since", Moment, nullable=False),
    sa.Column("until", Moment, nullable=False),
    sa.Column("provider", sa.String(100)),
    sa.Column("model", sa.String(300)),
    sa.Column("tenant", sa.String(200)),
    sa.Column("unpriced_only", sa.Boolean, nullable=False),
    sa.Column("calls", sa.BigInteger, nullable=False),
    sa.Column("changed", sa.BigInteger, nullable=False),
    sa.Column("old_usd", Exact, nullable=False),
    sa.Column("new_usd", Exact, nullable=False),
    sa.Column("revision", sa.Text, nullable=False),
    sa.Column("state", sa.String(20), nullable=False, server_default="posted", comment="begun, posted or not posted"),
    sa.Column("begun_in", sa.Text, comment="host and data folder of the collector that began it"),
)

#: Name → table: what `connect()` shows to SQL beside the ledger. Keep it last.
TABLES: dict[str, sa.Table] = dict(METADATA.tables)
