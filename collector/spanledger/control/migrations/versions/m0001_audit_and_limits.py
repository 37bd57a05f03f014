"""The audit log and limits."""

import sqlalchemy as sa
from alembic import op

from spanledger.control.columns import Exact, Moment

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("at", Moment, nullable=False, index=True),
        sa.Column("who", sa.String(200), nullable=False),
        sa.Column("action", sa.String(20), nullable=False),
        sa.Column("table_name", sa.String(63), nullable=False),
        sa.Column("row_id", sa.String(200), nullable=False),
        sa.Column("was", sa.JSON),
        sa.Column("is", sa.JSON),
        sa.Column("why", sa.Text),
        sa.Index("ix_audit_table_name_row_id", "table_name", "row_id"),
    )
    op.create_table(
        "limits",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False, unique=True),
        sa.Column("source", sa.String(20), nullable=False),
        sa.Column("selectors", sa.JSON, nullable=False),
        sa.Column("per", sa.JSON, nullable=False),
        sa.Column("measure", sa.String(20), nullable=False),
        sa.Column("window", sa.JSON, nullable=False),
        sa.Column("amount", Exact, nullable=False),
        sa.Column("hard", sa.Boolean, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("rest", sa.JSON, nullable=False),
        sa.Column("tier", sa.String(200), index=True),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("updated_at", Moment, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("limits")
    op.drop_table("audit")
