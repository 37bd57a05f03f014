"""Whether a re-rating that was begun is in the ledger, and where it was begun."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("reratings", sa.Column("state", sa.String(20), nullable=False, server_default="posted"))
    op.add_column("reratings", sa.Column("begun_in", sa.Text))


def downgrade() -> None:
    op.drop_column("reratings", "begun_in")
    op.drop_column("reratings", "state")
