"""Results as dictionaries of plain numbers, strings and lists."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """The value without dataclasses, tuples and NumPy types: what JSON and records take."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value


class PlainResult:
    """Base of the frozen dataclasses that are stored as they are."""

    def to_dict(self) -> dict[str, Any]:
        """Every field by name, nested dataclasses and tuples as dictionaries and lists."""
        result: dict[str, Any] = plain(self)
        return result
