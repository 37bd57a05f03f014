"""Tiers may stand in the configuration file."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("tiers", sa.Column("source", sa.String(20), nullable=False, server_default="api"))


def downgrade() -> None:
    op.drop_column("tiers", "source")
