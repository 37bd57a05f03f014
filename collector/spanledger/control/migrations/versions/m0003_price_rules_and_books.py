"""Price rules and price books."""

import sqlalchemy as sa
from alembic import op

from spanledger.control.columns import Exact, Moment

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "price_rules",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("layer", sa.String(20), nullable=False),
        sa.Column("scope", sa.String(300), nullable=False),
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
        sa.Column("rates", sa.JSON, nullable=False),
        sa.Column("multiplier", Exact),
        sa.Column("same_as", sa.String(400), nullable=False),
        sa.Column("monthly_usd", Exact),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("author", sa.String(200), nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("supersedes", sa.String(64), index=True),
        sa.Column("superseded_at", Moment, index=True),
    )
    op.create_table(
        "price_books",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("version", sa.String(100), nullable=False),
        sa.Column("file", sa.String(400)),
        sa.Column("models", sa.Integer, nullable=False),
        sa.Column("loaded_at", Moment, nullable=False),
        sa.Column("loaded_by", sa.String(200), nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("in_use", sa.Boolean, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("price_books")
    op.drop_table("price_rules")
