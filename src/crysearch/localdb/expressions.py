"""Aggregation expressions, as mongomock-ng evaluates them, with its errors put right."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mongomock_ng import OperationFailure, aggregate
from mongomock_ng.filtering import NOTHING

from crysearch.localdb.errors import BAD_VALUE, CommandError, unsupported
from crysearch.localdb.keys import MISSING, encode

Expression = Callable[[Mapping[str, Any]], Any]

_KNOWN = {
    name
    for group in vars(aggregate).values()
    if isinstance(group, set | frozenset | list | tuple)
    for name in group
    if isinstance(name, str) and name.startswith("$")
} - {"$function"}
_COMPARISONS: dict[str, Callable[[bytes, bytes], Any]] = {
    "$eq": bytes.__eq__,
    "$ne": bytes.__ne__,
    "$gt": bytes.__gt__,
    "$gte": bytes.__ge__,
    "$lt": bytes.__lt__,
    "$lte": bytes.__le__,
    "$cmp": lambda a, b: (a > b) - (a < b),
}
_VARIABLES = {"ROOT", "CURRENT", "this", "value"}


def compile_expression(expression: Any) -> Expression:
    """A function that evaluates an expression on a document; `MISSING` if it has no value."""
    check_expression(expression)
    if isinstance(expression, str) and expression.startswith("$") and expression[1:].isidentifier():
        name = expression[1:]
        return lambda document: document.get(name, MISSING)
    if not isinstance(expression, str | dict | list):
        return lambda document: expression

    def evaluate(document: Mapping[str, Any]) -> Any:
        with explained():
            value = aggregate._parse_expression(expression, document)
        return MISSING if value is NOTHING else value

    return evaluate


def truth(value: Any) -> bool:
    """Whether a value counts as true."""
    return not (value is MISSING or value is None or value is False or value == 0)


def check_expression(expression: Any, names: frozenset[str] = frozenset(_VARIABLES)) -> None:
    """Refuse unknown operators and variables before any document is looked at."""
    if isinstance(expression, str) and expression.startswith("$$"):
        if expression[2:].split(".")[0] not in names:
            raise CommandError(17276, f"Use of undefined variable: {expression[2:]}")
    elif isinstance(expression, list):
        for part in expression:
            check_expression(part, names)
    elif isinstance(expression, dict):
        given = expression.get("vars")
        names |= {str(expression.get("as"))} | set(given if isinstance(given, dict) else ())
        for name, part in expression.items():
            if name.startswith("$") and name not in _KNOWN:
                raise CommandError(168, f"Unrecognized expression '{name}'")
            if name in _COMPARISONS and not (isinstance(part, list) and len(part) == 2):
                raise CommandError(16020, f"Expression {name} takes exactly 2 arguments")
            if name != "$literal":
                check_expression(part, names)


@contextmanager
def explained() -> Iterator[None]:
    """Turn mongomock-ng's errors into replies."""
    try:
        yield
    except NotImplementedError as error:
        raise unsupported(str(error)) from error
    except OperationFailure as error:
        raise CommandError(error.code or BAD_VALUE, str(error)) from error
    except (AssertionError, TypeError, ValueError, LookupError, AttributeError) as error:
        raise CommandError(BAD_VALUE, f"cannot evaluate an expression: {error}") from error


class _Parser(aggregate._Parser):
    """mongomock-ng's evaluation, with MongoDB's comparisons, negation and bad dates."""

    def _handle_comparison_operator(self, operator: str, values: Any) -> Any:
        first, second = (self.parse(value) for value in values)
        keys = [_UNSET if v is NOTHING else encode(v) for v in (first, second)]
        return _COMPARISONS[operator](*keys)

    def _handle_boolean_operator(self, operator: str, values: Any) -> Any:
        if operator == "$not" and isinstance(values, list) and len(values) == 1:
            values = values[0]
        return super()._handle_boolean_operator(operator, values)

    def _handle_date_operator(self, operator: str, values: Any) -> Any:
        # What is no text is an error too, for which FireWorks gives the date itself.
        if operator == "$dateFromString" and isinstance(values, dict) and "onError" in values:
            given = self.parse(values.get("dateString"))
            if given is not NOTHING and given is not None and not isinstance(given, str):
                return self.parse(values["onError"])
        return super()._handle_date_operator(operator, values)


_UNSET = b"\x05"  # in expressions a missing field comes before null
vars(aggregate)["_Parser"] = _Parser
