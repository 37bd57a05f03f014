"""The control database: the small tables that change, and who changed them.

`Control.open(url)` gives SQLite or PostgreSQL with the newest schema. Reading is `with control.read() as connection`;
every write goes through `with control.change(who=…, why=…) as change`, which leaves an audit row per changed row in
the same transaction. A part adds a table in `control/tables.py` and a migration in `control/migrations/versions/`.
"""

from spanledger.control.change import Change, NotFound
from spanledger.control.database import Control, ControlError
from spanledger.control.tables import METADATA, TABLES

__all__ = ["METADATA", "TABLES", "Change", "Control", "ControlError", "NotFound"]
