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

audit = sa.Table(
    "audit",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("at", Moment, nullable=False, index=True),
    sa.Column("who", sa.String(200), nullable=False),
    sa.Column("action", sa.String(20), nullable=False, comment="insert, update or delete"),
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

#: Name → table: what `connect()` shows to SQL beside the ledger. Keep it last.
TABLES: dict[str, sa.Table] = dict(METADATA.tables)
