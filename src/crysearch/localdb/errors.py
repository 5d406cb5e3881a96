"""Errors of the local store: those a person reads, and those a client gets as a reply."""

from __future__ import annotations

from typing import Any

from crysearch.errors import RecordsError

# MongoDB's codes. Those that it has no name for are called Location<code>.
BAD_VALUE, UNKNOWN_ERROR, FAILED_TO_PARSE, UNAUTHORIZED, TYPE_MISMATCH = 2, 8, 9, 13, 14
OVERFLOW, AUTHENTICATION_FAILED, ILLEGAL_OPERATION, NO_NAMESPACE = 15, 18, 20, 26
NO_INDEX, NOT_VIABLE, CONFLICT, NO_CURSOR, NAMESPACE_EXISTS = 27, 28, 40, 43, 48
DOLLAR_PREFIX, NO_COMMAND, IMMUTABLE_FIELD, NO_INDEX_POSSIBLE = 52, 59, 66, 67
INVALID_NAMESPACE, OPERATION_FAILED, UNSUPPORTED, UNKNOWN_FIELD = 73, 96, 115, 40415
TOO_LARGE, DUPLICATE_KEY, OUT_OF_DISK_SPACE, MISSING_FIELD = 10334, 11000, 14031, 40414
_NAMES = {
    2: "BadValue", 8: "UnknownError", 9: "FailedToParse", 13: "Unauthorized", 14: "TypeMismatch",
    15: "Overflow", 16: "InvalidLength", 18: "AuthenticationFailed", 20: "IllegalOperation",
    26: "NamespaceNotFound", 27: "IndexNotFound", 28: "PathNotViable", 43: "CursorNotFound",
    40: "ConflictingUpdateOperators", 48: "NamespaceExists", 50: "MaxTimeMSExpired",
    52: "DollarPrefixedFieldName", 53: "InvalidIdField", 56: "EmptyFieldName",
    59: "CommandNotFound", 66: "ImmutableField", 67: "CannotCreateIndex", 72: "InvalidOptions",
    73: "InvalidNamespace", 85: "IndexOptionsConflict", 86: "IndexKeySpecsConflict",
    96: "OperationFailed", 115: "CommandNotSupported", 123: "NotAReplicaSet",
    168: "InvalidPipelineOperator", 171: "CannotIndexParallelArrays",
    197: "InvalidIndexSpecificationOption", 334: "MechanismUnavailable",
    10334: "BSONObjectTooLarge", 11000: "DuplicateKey", 14031: "OutOfDiskSpace",
}  # fmt: skip


class LocalDatabaseError(RecordsError):
    """The local store cannot be started, reached, read or written."""


class CommandError(Exception):
    """A command, or one statement of it, fails with one of MongoDB's error codes."""

    def __init__(self, code: int, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.details = details

    def reply(self) -> dict[str, Any]:
        """The error as the reply to a command."""
        name = _NAMES.get(self.code, f"Location{self.code}")
        error = {"errmsg": str(self), "code": self.code, "codeName": name}
        return {"ok": 0.0, **error, **self.details}

    def write_error(self, index: int) -> dict[str, Any]:
        """The error as one entry of ``writeErrors``."""
        return {"index": index, "code": self.code, "errmsg": str(self), **self.details}


def unsupported(what: str) -> CommandError:
    """The answer to something MongoDB has and the local store has not."""
    return CommandError(UNSUPPORTED, f"{what} is not supported by the crysearch local store")
