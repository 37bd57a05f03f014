"""Re-ratings."""

import sqlalchemy as sa
from alembic import op

from spanledger.control.columns import Exact, Moment

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "reratings",
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
    )


def downgrade() -> None:
    op.drop_table("reratings")
