"""Projections: the part of a document that a question wants.

Not mongomock-ng's, which moves ``_id`` to the end and knows neither nested nor positional ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from crysearch.localdb.errors import BAD_VALUE, CommandError
from crysearch.localdb.keys import MISSING
from crysearch.localdb.queries import element_test, matched_position

Document = dict[str, Any]
Projection = Callable[[Document], Document]
Cut = Callable[[Any], Any]  # of the value of one field; MISSING takes the field away


def compile_projection(projection: Any, filter: Mapping[str, Any]) -> Projection | None:
    """A function that cuts a document down; None when the whole document is wanted."""
    if not projection:
        return None
    if not isinstance(projection, Mapping):
        raise CommandError(14, "a projection must be an object")
    tree: Document = {}
    cuts: dict[str, Cut] = {}
    computed: Document = {}
    modes: set[bool] = set()
    for path, value in _flat(projection):
        operator, argument = "", None
        if isinstance(value, dict) and value:
            operator, argument = next(iter(value.items()))
        if path.endswith(".$"):
            path, operator = path[:-2], "$"
        if operator in ("$", "$elemMatch", "$slice"):
            cuts[path] = _cut(operator, argument, path, filter)
            modes |= set() if operator == "$slice" else {True}
        elif not isinstance(value, bool | int | float):
            computed[path] = value
            modes.add(True)
        elif path != "_id":
            modes.add(bool(value))
            _plant(tree, path)
    if len(modes) > 1:
        raise CommandError(31254, "Cannot do exclusion and inclusion in one projection")
    with_id = bool(projection.get("_id", True))
    include = modes.pop() if modes else "_id" in projection and with_id
    if include == with_id:
        tree["_id"] = True
    for path in cuts if include else ():
        _plant(tree, path)
    expressions = []
    if computed:
        from crysearch.localdb.expressions import compile_expression

        expressions = [(path, compile_expression(value)) for path, value in computed.items()]

    def project(document: Document) -> Document:
        result = _included(document, tree) if include else _excluded(document, tree)
        for path, cut in cuts.items():
            node, name = _parent(result, path, create=False)
            if name in node:
                node[name] = cut(node[name])
                if node[name] is MISSING:
                    del node[name]
        for path, expression in expressions:
            value = expression(document)
            if value is not MISSING:
                node, name = _parent(result, path, create=True)
                node[name] = value
        return result

    return project


def _flat(projection: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """The fields with dotted paths in the place of nested objects."""
    found = []
    for name, value in projection.items():
        if isinstance(value, dict) and value and not next(iter(value)).startswith("$"):
            found += _flat(value, f"{prefix}{name}.")
        else:
            found.append((prefix + name, value))
    return found


def _plant(tree: Document, path: str) -> None:
    *parents, last = path.split(".")
    for part in parents:
        tree = tree.setdefault(part, {})
        if tree is True:
            raise CommandError(31249, f"Path collision at {path}")
    if last in tree:
        raise CommandError(31250, f"Path collision at {path}")
    tree[last] = True


def _included(node: Any, tree: Document) -> Any:
    if isinstance(node, list):
        return [_included(value, tree) for value in node if isinstance(value, dict | list)]
    return {
        name: value if tree[name] is True else _included(value, tree[name])
        for name, value in node.items()
        if name in tree and (tree[name] is True or isinstance(value, dict | list))
    }


def _excluded(node: Any, tree: Document) -> Any:
    if isinstance(node, list):
        return [_excluded(value, tree) for value in node]
    if not isinstance(node, dict):
        return node
    return {
        name: _excluded(value, tree[name]) if name in tree else value
        for name, value in node.items()
        if tree.get(name) is not True
    }


def _parent(node: Document, path: str, create: bool) -> tuple[Document, str]:
    *parents, last = path.split(".")
    for part in parents:
        inner = node.get(part)
        if not isinstance(inner, dict):
            inner = {}
            if create:
                node[part] = inner
        node = inner
    return node, last


def _cut(operator: str, argument: Any, path: str, filter: Mapping[str, Any]) -> Cut:
    if operator == "$slice":
        return _slice(argument)
    test = element_test(argument) if operator == "$elemMatch" else None

    def cut(values: Any) -> Any:
        if test is None:
            position = matched_position(filter, path, values)
            if position is None:
                raise CommandError(51246, f"the query does not say which element of {path} to take")
        else:
            found = enumerate(values if isinstance(values, list) else ())
            position = next((i for i, value in found if test(value)), None)
        return MISSING if position is None else [values[position]]

    return cut


def _slice(argument: Any) -> Cut:
    start, size = argument if isinstance(argument, list) and len(argument) == 2 else (0, argument)
    if not all(isinstance(n, int) and not isinstance(n, bool) for n in (start, size)):
        raise CommandError(BAD_VALUE, f"$slice needs a number or [skip, limit], not {argument!r}")

    def cut(values: Any) -> Any:
        if not isinstance(values, list):
            return values
        if isinstance(argument, list):
            first = start if start >= 0 else max(len(values) + start, 0)
            return values[first : first + size]
        return values[:size] if size >= 0 else values[size:]

    return cut
