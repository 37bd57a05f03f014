"""The pages, in the order of the navigation. A page is a value: a new one is a module and a line here."""

from spanledger.dashboard.page import Page
from spanledger.dashboard.pages.calls import CALLS
from spanledger.dashboard.pages.explore import EXPLORE
from spanledger.dashboard.pages.limits import LIMITS
from spanledger.dashboard.pages.overview import OVERVIEW

PAGES: tuple[Page, ...] = (OVERVIEW, EXPLORE, CALLS, LIMITS)
