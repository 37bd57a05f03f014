"""Tiers, pauses, grants, resets and keys."""

import sqlalchemy as sa
from alembic import op

from spanledger.control.columns import Exact, Moment

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "tiers",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False, unique=True),
        sa.Column("dimension", sa.String(200), nullable=False),
        sa.Column("is_default", sa.Boolean, nullable=False),
        sa.Column("members", sa.JSON, nullable=False),
        sa.Column("description", sa.Text),
    )
    op.create_table(
        "pauses",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("selectors", sa.JSON, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("limit_id", sa.String(64)),
        sa.Column("since", Moment, nullable=False),
        sa.Column("until", Moment),
    )
    op.create_table(
        "grants",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("limit_id", sa.String(64), nullable=False, index=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("subject", sa.JSON),
        sa.Column("amount", Exact, nullable=False),
        sa.Column("valid_from", Moment, nullable=False),
        sa.Column("expires_at", Moment, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_table(
        "resets",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("limit_id", sa.String(64), nullable=False, index=True),
        sa.Column("subject", sa.JSON, nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("forgotten", sa.JSON, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("prefix", sa.String(20), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False, unique=True),
        sa.Column("roles", sa.JSON, nullable=False),
        sa.Column("tenant", sa.String(200)),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("expires_at", Moment),
        sa.Column("revoked_at", Moment),
        sa.Column("last_used_at", Moment),
    )


def downgrade() -> None:
    for table in ("keys", "resets", "grants", "pauses", "tiers"):
        op.drop_table(table)
