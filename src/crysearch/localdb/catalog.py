"""What the store knows of its collections and indexes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from crysearch.localdb import keys
from crysearch.localdb.errors import NO_INDEX_POSSIBLE, CommandError, unsupported
from crysearch.localdb.queries import compile_filter, conjuncts

_IGNORED = {"v", "background", "ns", "commitQuorum"}  # without a meaning here, or in MongoDB 7
_ID_SPEC = {"v": 2, "key": {"_id": 1}, "name": "_id_", "unique": True}
_PARTIAL = {"$eq", "$exists", "$gt", "$gte", "$lt", "$lte", "$type", "$in"}


@dataclass(eq=False)
class Index:
    """An index: one table of (key, position of the document)."""

    id: int
    collection: int
    spec: dict[str, Any]
    multikey: bool = False

    def __post_init__(self) -> None:
        self.name: str = self.spec["name"]
        self.fields = [(path, direction > 0) for path, direction in self.spec["key"].items()]
        self.paths = [tuple(path.split(".")) for path, _ in self.fields]
        self.unique = bool(self.spec.get("unique"))
        self.sparse = bool(self.spec.get("sparse"))
        self.partial: dict[str, Any] | None = self.spec.get("partialFilterExpression")
        self._included = compile_filter(self.partial or {})
        self.is_id = self.id == 0
        self.table = f"documents_{self.collection}" if self.is_id else f"index_{self.id}"

    def keys(self, document: Mapping[str, Any]) -> dict[bytes, tuple[Any, ...]]:
        """The keys of a document, with the values they stand for."""
        found: dict[bytes, tuple[Any, ...]] = {}
        if not self._included(document):
            return found
        for values in keys.index_values([(document, path) for path in self.paths]):
            if self.sparse and all(value is keys.MISSING for value in values):
                continue
            pairs = zip(map(keys.encode, values), self.fields, strict=True)
            found[b"".join(k if up else keys.inverted(k) for k, (_, up) in pairs)] = values
        return found

    def is_multikey(self, document: Mapping[str, Any]) -> bool:
        """Whether an array lies on one of the index's paths in a document."""
        for path in self.paths:
            node: Any = document
            for part in path:
                node = node.get(part) if isinstance(node, dict) else node
            if isinstance(node, list):
                return True
        return False


@dataclass(eq=False)
class Collection:
    """A collection: one table of documents, and the tables of its indexes."""

    id: int
    database: str
    name: str
    secondary: tuple[Index, ...] = ()  # the indexes other than that of _id

    def __post_init__(self) -> None:
        self.table = f"documents_{self.id}"
        self.namespace = f"{self.database}.{self.name}"
        self.indexes = (Index(0, self.id, _ID_SPEC), *self.secondary)

    def with_indexes(self, secondary: tuple[Index, ...]) -> Collection:
        """The collection as it is with other indexes."""
        return replace(self, secondary=secondary)


def checked_index(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The specification of an index as it is kept, refusing what is not supported here."""
    fields, kept = spec.get("key"), {"v": 2, "key": spec.get("key"), "name": spec.get("name")}
    if not isinstance(fields, dict) or not fields or not isinstance(kept["name"], str):
        raise CommandError(NO_INDEX_POSSIBLE, "an index needs a name, and a key of fields")
    for path, direction in fields.items():
        if isinstance(direction, str):
            raise unsupported(f"an index of type {direction!r} (field {path!r})")
        if isinstance(direction, bool) or not isinstance(direction, int | float) or not direction:
            message = f"the direction of {path!r} must be 1 or -1, not {direction!r}"
            raise CommandError(NO_INDEX_POSSIBLE, message)
        if "" in path.split(".") or "$" in path:
            raise CommandError(NO_INDEX_POSSIBLE, f"cannot index a field named {path!r}")
    for option, value in spec.items():
        if option in ("unique", "sparse"):
            kept |= {option: True} if value else {}
        elif option == "partialFilterExpression":
            kept[option] = _checked_partial(value)
        elif option == "collation":
            check_collation(value)
        elif option in ("expireAfterSeconds", "hidden") and value is not False:
            raise unsupported(f"the index option {option}")
        elif option not in _IGNORED and option not in ("key", "name", "hidden"):
            message = f"The field '{option}' is not valid for an index specification"
            raise CommandError(197, message)
    if "partialFilterExpression" in kept and kept.get("sparse"):
        message = "cannot mix 'partialFilterExpression' and 'sparse'"
        raise CommandError(NO_INDEX_POSSIBLE, message)
    return kept


def _checked_partial(filter: Any) -> Any:
    compile_filter(filter)
    operators = {operator for _, operator, _ in conjuncts(filter)}
    operators |= {name for name in filter if name.startswith("$") and name != "$and"}
    if operators - _PARTIAL:
        message = f"{min(operators - _PARTIAL)} is not allowed in a partialFilterExpression"
        raise CommandError(NO_INDEX_POSSIBLE, message)
    return filter


def check_collation(collation: Any) -> None:
    """Refuse every collation but the simple one, which compares bytes."""
    simple = isinstance(collation, dict) and collation.get("locale") == "simple"
    if collation is not None and not simple:
        raise unsupported("a collation other than {locale: 'simple'}")
