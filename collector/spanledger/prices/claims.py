"""What senders say that calls cost, and where their word counts.

From the strongest to the weakest: the word of those who are trusted, a price of a rule or a book, the word of others, and a
default price, which is a guess and no evidence.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from spanledger.prices.amounts import ABSURD_USD
from spanledger.prices.settings import Settings
from spanledger.prices.tables import Flags, Tables, Wholes

MONEY = pl.Decimal(20, 12)


@dataclass(frozen=True, slots=True)
class Claims:
    """By row: what is claimed, in dollars; whether it goes over every price; whether it stands in where there is none."""

    usd: pl.Series
    trusted: Flags
    stands_in: Flags

    def over_defaults(self, cells: Wholes, tables: Tables) -> Wholes:
        """The cells of the rows, without the default prices that a claim goes over."""
        return np.where(self.trusted | self.stands_in, tables.without_default[cells], cells)


def claims_of(rows: pl.DataFrame, settings: Settings) -> Claims | None:
    """What the rows claim; None where nobody claims anything that counts."""
    if settings.profile == "development" or "reported_cost_usd" not in rows.columns:
        return None
    usd = rows["reported_cost_usd"].cast(MONEY)
    if usd.null_count() == rows.height:
        return None
    # What is absurd of a computed cost is of a claimed one; intake leaves it out, older entries may have it.
    possible = usd.is_between(0, ABSURD_USD).fill_null(False).to_numpy()
    spelled = rows["provider"].unique().to_list() if "provider" in rows.columns else []
    trusts = [provider for provider in spelled if provider and settings.trusts(provider)]
    trusted = np.zeros(rows.height, np.bool_)
    if trusts:
        trusted = possible & rows["provider"].is_in(trusts).fill_null(False).to_numpy()
    # Emitters that know no price say zero.
    stands_in = possible & (usd > 0).fill_null(False).to_numpy() & settings.reported_when_unpriced
    return Claims(usd, trusted, stands_in)
