"""What is wrong with a person's input, in words that name the field, the value and the way out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, get_args

from pydantic import BaseModel, ValidationError


def describe_errors(
    error: ValidationError, content: Mapping[str, Any], model: type[BaseModel]
) -> list[str]:
    """One line per invalid field: its name, the value given and what is allowed."""
    lines: list[str] = []
    for item in error.errors(include_url=False):
        name = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        if not name:
            lines.extend(message.split("\n"))
            continue
        if item["type"] == "extra_forbidden":
            lines.append(f"{name}: unknown field — allowed here: {_siblings(model, item['loc'])}")
            continue
        value: Any = content
        for part in item["loc"]:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                value = None
                break
        given = "missing" if item["type"] == "missing" else repr(value)
        lines.append(f"{name}: {given} — {message[:1].lower()}{message[1:]}")
    return lines


def without(content: Mapping[str, Any], places: Sequence[tuple[int | str, ...]]) -> dict[str, Any]:
    """A copy of nested mappings without the fields at the given places."""
    copy = deepcopy(dict(content))
    for place in places:
        target: Any = copy
        names = list(place)
        while len(names) > 1 and isinstance(target.get(names[0]), dict):
            target = target[names.pop(0)]
        if names:
            target.pop(names[0], None)
    return copy


def _siblings(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """Names of the fields that are allowed where an unknown one was given."""
    for part in location[:-1]:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field is not None else None
        # The parts of a list are where a number stands in the location.
        for kind in (annotation, *get_args(annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                model = kind
    return ", ".join(model.model_fields)
