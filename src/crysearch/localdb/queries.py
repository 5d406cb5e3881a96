"""Filters: compiled once, then asked of each document.

Not mongomock-ng's, which takes True for 1, evaluates ``$where`` as Python, has no ``$mod``, and
compares otherwise than an index is sorted: an index may only change the speed of an answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from bson import DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.code import Code

from crysearch.localdb.errors import BAD_VALUE, TYPE_MISMATCH, CommandError
from crysearch.localdb.keys import MISSING, encode, values_at

Predicate = Callable[[Any], bool]
Values = Callable[[bool], Iterable[Any]]  # the values of a field; if True, with array elements
Test = Callable[[Values], bool]

_TYPES = {
    "double": 1, "string": 2, "object": 3, "array": 4, "binData": 5, "objectId": 7, "bool": 8,
    "date": 9, "null": 10, "regex": 11, "javascript": 13, "javascriptWithScope": 15, "int": 16,
    "timestamp": 17, "long": 18, "decimal": 19, "minKey": -1, "maxKey": 127,
}  # fmt: skip
_PYTHON_TYPES: tuple[tuple[Any, int], ...] = (
    (bool, 8), (Int64, 18), (float, 1), (Code, 13), (str, 2), (dict | DBRef, 3), (list, 4),
    (ObjectId, 7), (type(None), 10), (bytes, 5), (Regex, 11), (Timestamp, 17), (Decimal128, 19),
    (MinKey, -1), (MaxKey, 127), (object, 9),
)  # fmt: skip
_LOGICAL: dict[str, Callable[[Iterable[bool]], bool]] = {
    "$and": all,
    "$or": any,
    "$nor": lambda results: not any(results),
}


def compile_filter(filter: Any) -> Predicate:
    """A function that tells whether a document matches.

    Raises
    ------
    CommandError
        The filter is malformed or has an operator that is unknown here.
    """
    if not isinstance(filter, Mapping):
        raise CommandError(TYPE_MISMATCH, f"the filter must be an object, not {filter!r}")
    tests = [_compile_item(name, value) for name, value in filter.items() if name != "$comment"]
    if len(tests) == 1:
        return tests[0]
    return lambda document: all(test(document) for test in tests)


def conjuncts(filter: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """The (path, operator, value) that every match must satisfy; other parts are left out."""
    for name, value in filter.items():
        if name == "$and":
            for part in value:
                yield from conjuncts(part)
        elif isinstance(value, Regex) and not name.startswith("$"):
            yield name, "$regex", value
        elif not name.startswith("$"):
            for operator, argument in value.items() if _is_operators(value) else [("$eq", value)]:
                if operator != "$regex" or "$options" not in value:
                    yield name, operator, argument


def _is_operators(value: Any) -> bool:
    first = next(iter(value), "") if isinstance(value, dict) else ""
    return first.startswith("$") and first not in ("$ref", "$id", "$db")


def _compile_item(name: str, value: Any) -> Predicate:
    if name in _LOGICAL:
        if not isinstance(value, list) or not value:
            raise CommandError(BAD_VALUE, f"{name} argument must be a non-empty array")
        tests, combine = [compile_filter(part) for part in value], _LOGICAL[name]
        return lambda document: combine(test(document) for test in tests)
    if name == "$expr":
        from crysearch.localdb.expressions import compile_expression, truth

        expression = compile_expression(value)
        return lambda document: truth(expression(document))
    if name.startswith("$"):
        raise CommandError(BAD_VALUE, f"unknown top level operator: {name}")
    return _compile_field(name, value)


def _compile_field(name: str, value: Any) -> Predicate:
    parts = tuple(name.split("."))
    tests = _tests(value)

    def general(document: Any) -> bool:
        values = partial(values_at, document, parts)
        return all(test(values) for test in tests)

    kind = value.__class__
    if len(parts) > 1 or kind not in (str, int, ObjectId):
        return general

    def fast(document: Any) -> bool:
        found = document.get(name, MISSING)
        return found == value if found.__class__ is kind else general(document)

    return fast


def _tests(condition: Any) -> list[Test]:
    if isinstance(condition, Regex):
        return [_any(_matches(condition))]
    if not _is_operators(condition):
        return [_equals(condition)]
    if "$options" in condition and "$regex" not in condition:
        raise CommandError(BAD_VALUE, "$options needs a $regex")
    tests = []
    for operator, argument in condition.items():
        if operator == "$regex":
            tests.append(_any(_matches(argument, condition.get("$options", ""))))
        elif operator in _OPERATORS:
            tests.append(_OPERATORS[operator](argument))
        elif operator != "$options":
            raise CommandError(BAD_VALUE, f"unknown operator: {operator}")
    return tests


def value_test(condition: Any) -> Predicate:
    """Whether a bare value, such as the element of an array, satisfies a condition."""
    tests = _tests(condition)
    return lambda value: all(test(lambda elements: (value,)) for test in tests)


def element_test(condition: Any) -> Predicate:
    """Whether one element of an array satisfies the argument of an ``$elemMatch``."""
    if not isinstance(condition, dict):
        raise CommandError(BAD_VALUE, "$elemMatch needs an Object")
    if _is_operators(condition) and next(iter(condition)) not in (*_LOGICAL, "$expr"):
        return value_test(condition)
    test = compile_filter(condition)
    return lambda element: isinstance(element, dict) and test(element)


def matched_position(filter: Mapping[str, Any], path: str, values: Any) -> int | None:
    """The position of the first element of the array at a path that the filter is about."""
    for name, operator, argument in conjuncts(filter):
        if name == path and operator == "$elemMatch":
            test = element_test(argument)
        elif name == path:
            test = value_test({operator: argument})
        elif name.startswith(path + "."):
            test = element_test({name[len(path) + 1 :]: {operator: argument}})
        else:
            continue
        if isinstance(values, list):
            return next((i for i, value in enumerate(values) if test(value)), None)
    return None


def _any(predicate: Predicate, elements: bool = True) -> Test:
    return lambda values: any(map(predicate, values(elements)))


def _not(tests: Sequence[Test]) -> Test:
    return lambda values: not all(test(values) for test in tests)


def _equals(expected: Any) -> Test:
    key = encode(expected)
    return _any(lambda value: encode(value) == key)


def _in(wanted: Any) -> Test:
    if not isinstance(wanted, list) or any(map(_is_operators, wanted)):
        raise CommandError(BAD_VALUE, "$in and $nin need an array without operators")
    patterns = [_matches(value) for value in wanted if isinstance(value, Regex)]
    keys = frozenset(map(encode, wanted))
    if not patterns:
        return _any(lambda value: encode(value) in keys)
    return _any(lambda value: encode(value) in keys or any(p(value) for p in patterns))


def _ordered(compare: Callable[[bytes, bytes], bool]) -> Callable[[Any], Test]:
    def compiler(bound: Any) -> Test:
        if isinstance(bound, Regex):
            raise CommandError(BAD_VALUE, "a regular expression is neither less nor greater")
        key = encode(bound)
        bracket = b"" if isinstance(bound, MinKey | MaxKey) else key[:1]

        def predicate(value: Any) -> bool:
            found = encode(value)
            if value != value or bound != bound:  # NaN is equal to itself, and no more
                return found == key and compare(b"", b"")
            return found.startswith(bracket) and compare(found, key)

        return _any(predicate)

    return compiler


def _exists(wanted: Any) -> Test:
    test = _any(lambda value: value is not MISSING, elements=False)
    return test if wanted else _not([test])


def _type(names: Any) -> Test:
    codes: set[int] = set()
    for name in names if isinstance(names, list) else [names]:
        if name == "number":
            codes |= {1, 16, 18, 19}
        elif isinstance(name, str | int) and (name in _TYPES or name in _TYPES.values()):
            codes.add(_TYPES[name] if isinstance(name, str) else name)
        else:
            raise CommandError(BAD_VALUE, f"Unknown type name alias: {name}")
    return _any(lambda value: value is not MISSING and _type_code(value) in codes)


def _type_code(value: Any) -> int:
    if value.__class__ is int:
        return 16 if -(2**31) <= value < 2**31 else 18
    code = next(code for kind, code in _PYTHON_TYPES if isinstance(value, kind))
    return 15 if code == 13 and value.scope is not None else code


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _mod(argument: Any) -> Test:
    if not isinstance(argument, list) or len(argument) != 2 or not all(map(_is_number, argument)):
        raise CommandError(BAD_VALUE, "malformed mod, needs to be an array of two numbers")
    divisor, remainder = map(int, argument)
    if divisor == 0:
        raise CommandError(BAD_VALUE, "divisor cannot be 0")

    def predicate(value: Any) -> bool:
        value = float(value.to_decimal()) if isinstance(value, Decimal128) else value
        if not _is_number(value) or value - value != 0:  # neither infinite nor NaN
            return False
        left = abs(int(value)) % abs(divisor)  # the sign follows the dividend, as in C
        return (left if value >= 0 else -left) == remainder

    return _any(predicate)


def _size(size: Any) -> Test:
    if not _is_number(size) or size < 0 or size != int(size):
        raise CommandError(BAD_VALUE, f"$size must be a non-negative whole number, not {size!r}")
    return _any(lambda value: isinstance(value, list) and len(value) == size, elements=False)


def _all(wanted: Any) -> Test:
    if not isinstance(wanted, list):
        raise CommandError(BAD_VALUE, "$all needs an array")
    tests = []
    for value in wanted:
        if _is_operators(value) and "$elemMatch" not in value:
            raise CommandError(BAD_VALUE, "no $ expressions in $all")
        tests += _tests(value)
    return lambda values: bool(tests) and all(test(values) for test in tests)


def _element(condition: Any) -> Test:
    test = element_test(condition)
    return _any(lambda value: isinstance(value, list) and any(map(test, value)), elements=False)


def _negated(condition: Any) -> Test:
    if not isinstance(condition, Regex) and not _is_operators(condition):
        raise CommandError(BAD_VALUE, "$not needs a regex or a document of operators")
    return _not(_tests(condition))


def _matches(pattern: Any, options: str = "") -> Predicate:
    if not isinstance(pattern, str | Regex) or not isinstance(options, str):
        raise CommandError(BAD_VALUE, "$regex has to be a string")
    flags = pattern.flags & ~(re.LOCALE | re.UNICODE) if isinstance(pattern, Regex) else 0
    for option in options:
        if option not in "imsx":
            raise CommandError(BAD_VALUE, f"invalid flag in regex options: {option}")
        flags |= getattr(re, option.upper())
    text = pattern.pattern if isinstance(pattern, Regex) else pattern
    try:
        search = re.compile(str(text), flags).search
    except re.error as error:
        raise CommandError(51091, f"Regular expression is invalid: {error}") from error
    own = Regex(str(text), flags)

    def predicate(value: Any) -> bool:
        if isinstance(value, str):
            return search(value) is not None
        return isinstance(value, Regex) and encode(value) == encode(own)

    return predicate


_OPERATORS: dict[str, Callable[[Any], Test]] = {
    "$eq": _equals,
    "$ne": lambda value: _not([_equals(value)]),
    "$in": _in,
    "$nin": lambda values: _not([_in(values)]),
    "$gt": _ordered(bytes.__gt__),
    "$gte": _ordered(bytes.__ge__),
    "$lt": _ordered(bytes.__lt__),
    "$lte": _ordered(bytes.__le__),
    "$exists": _exists,
    "$type": _type,
    "$mod": _mod,
    "$size": _size,
    "$all": _all,
    "$elemMatch": _element,
    "$not": _negated,
}
