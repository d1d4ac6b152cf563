"""The store: every measurement of every run, in SQL, written by one connection."""

from suite.store.opening import open_store, store_exists, url_of
from suite.store.store import Store
from suite.store.tables import EnvironmentRow, RunRow
from suite.store.urls import shown

__all__ = ["EnvironmentRow", "RunRow", "Store", "open_store", "shown", "store_exists", "url_of"]
