"""How a question is asked: its arguments checked, its requests to the database as data."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ParamSpec

from pydantic import ConfigDict, Field, SkipValidation, ValidationError, validate_call

from crysearch.errors import RecordsError
from crysearch.records.store import Projection, Query, RecordStore, Sort

Rows = list[dict[str, Any]]
Pipeline = list[dict[str, Any]]
Parameters = ParamSpec("Parameters")

# Strict: a number is no text and a dictionary (of operators, say) is neither.
_ARGUMENTS = ConfigDict(strict=True, arbitrary_types_allowed=True)

Store = Annotated[RecordStore, SkipValidation]
Id = Annotated[str, Field(pattern=r"^[0-9a-f]{1,64}$")]
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^$\x00][^\x00]*$")]
Energy = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Distance = Annotated[float, Field(ge=0, le=2)]
Density = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Limit = Annotated[int, Field(ge=1, le=100_000)]

#: All questions by name.
QUESTIONS: dict[str, Callable[..., Rows]] = {}


def question(function: Callable[Parameters, Rows]) -> Callable[Parameters, Rows]:
    """Make a function of the store a question: listed in `QUESTIONS`, its arguments checked."""
    checked = validate_call(config=_ARGUMENTS)(function)

    @functools.wraps(function)
    def ask(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Rows:
        try:
            return checked(*args, **kwargs)
        except ValidationError as error:
            raise RecordsError(_explained(function, error)) from None

    QUESTIONS[function.__name__] = ask
    return ask


@dataclass(frozen=True)
class Find:
    """What ``collection.find`` is given."""

    collection: str
    query: Query
    projection: Projection | None = None
    sort: Sort | None = None
    limit: int = 0

    def explain(self, store: RecordStore) -> dict[str, Any]:
        """Return the database's plan for it."""
        return store.explain(self.collection, self.query, self.sort)


@dataclass(frozen=True)
class Aggregate:
    """What ``collection.aggregate`` is given."""

    collection: str
    pipeline: Sequence[Mapping[str, Any]] = field(default_factory=list)

    def explain(self, store: RecordStore) -> dict[str, Any]:
        """Return the database's plan for it."""
        return store.explain(self.collection, self.pipeline)


Request = Find | Aggregate


class Recorder(RecordStore):
    """A store for reading that remembers what it is asked.

    Parameters
    ----------
    store
        Who answers; without one, every answer is empty.
    """

    def __init__(self, store: RecordStore | None = None) -> None:
        super().__init__(None, None, "a recorder", read_only=True)  # type: ignore[arg-type]
        self.requests: list[Request] = []
        self._store = store

    def find(
        self,
        collection: str,
        query: Query | None = None,
        projection: Projection | None = None,
        sort: Sort | None = None,
        limit: int = 0,
    ) -> Rows:
        """Note the request, and pass it on."""
        self.requests.append(Find(collection, query or {}, projection, sort, limit))
        if self._store is None:
            return []
        return self._store.find(collection, query, projection, sort, limit)

    def count(self, collection: str, query: Query | None = None) -> int:
        """Note the request, as pymongo's ``count_documents`` makes it, and pass it on."""
        counting: Pipeline = [{"$match": query or {}}, {"$group": {"_id": 1, "n": {"$sum": 1}}}]
        self.requests.append(Aggregate(collection, counting))
        return 0 if self._store is None else self._store.count(collection, query)

    def aggregate(self, collection: str, pipeline: Sequence[Mapping[str, Any]]) -> Rows:
        """Note the request, and pass it on."""
        self.requests.append(Aggregate(collection, pipeline))
        return [] if self._store is None else self._store.aggregate(collection, pipeline)


def requests_of(
    question: Callable[..., Any], *args: Any, store: RecordStore | None = None, **kwargs: Any
) -> list[Request]:
    """Return what a question asks of the database.

    Parameters
    ----------
    question
        One of `QUESTIONS`, or another function of a store that reads with `find` and `aggregate`.
    *args, **kwargs
        Its arguments, without the store.
    store
        Needed to see requests that depend on the answers to earlier ones.
    """
    recorder = Recorder(store)
    question(recorder, *args, **kwargs)
    return recorder.requests


def _explained(function: Callable[..., Any], error: ValidationError) -> str:
    problem = error.errors()[0]
    place = problem["loc"][0]
    if isinstance(place, int):  # given by position
        place = list(inspect.signature(function).parameters)[place]
    given = "nothing" if problem["type"] == "missing_argument" else repr(problem["input"])
    return f"The question {function.__name__!r} was given {given} for {place}: {problem['msg']}."
