"""Documents, collections, indexes and queries: the only code that talks to a database."""

from __future__ import annotations

from crysearch.records.store import COLLECTIONS, RecordStore, open_records, records_in

__all__ = ["COLLECTIONS", "RecordStore", "open_records", "records_in"]
