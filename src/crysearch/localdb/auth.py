"""The server's side of SCRAM-SHA-256, for the one user of a store."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from typing import Any

from crysearch.localdb.errors import AUTHENTICATION_FAILED, CommandError
from crysearch.localdb.lifecycle import USERNAME

MECHANISM = "SCRAM-SHA-256"
_ITERATIONS = 4096  # the password is random and long: guessing it is hopeless already


class Credentials:
    """What the server needs to check a password without keeping it."""

    def __init__(self, password: str) -> None:
        self.salt = os.urandom(24)
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), self.salt, _ITERATIONS)
        self.stored_key = hashlib.sha256(_sign(salted, b"Client Key")).digest()
        self.server_key = _sign(salted, b"Server Key")


class Conversation:
    """The SCRAM exchange of one connection."""

    def __init__(self, credentials: Credentials) -> None:
        self.authenticated = False
        self._credentials = credentials
        self._begun: tuple[str, str] | None = None  # nonce, messages so far
        self._proven = False  # only the closing, empty exchange is missing
        self._skip_empty = False

    def start(self, command: dict[str, Any], database: Any) -> dict[str, Any]:
        """Answer ``saslStart``."""
        self.authenticated = self._proven = False
        if command.get("mechanism") != MECHANISM:
            message = f"mechanism {command.get('mechanism')!r} is not offered: use {MECHANISM}"
            raise CommandError(334, message)
        self._skip_empty = bool((command.get("options") or {}).get("skipEmptyExchange"))
        bare, fields = _read(command, "n,,", "nr")
        if fields["n"] != USERNAME or database != "admin":
            raise _failed()
        nonce = fields["r"] + base64.b64encode(os.urandom(24)).decode()
        answer = f"r={nonce},s={base64.b64encode(self._credentials.salt).decode()},i={_ITERATIONS}"
        self._begun = (nonce, f"{bare},{answer}")
        return {"conversationId": 1, "done": False, "payload": answer.encode()}

    def proceed(self, command: dict[str, Any]) -> dict[str, Any]:
        """Answer ``saslContinue``."""
        if self._proven:
            self.authenticated, self._proven = True, False
            return {"conversationId": 1, "done": True, "payload": b""}
        if self._begun is None:
            raise _failed()
        (nonce, messages), self._begun = self._begun, None
        message, fields = _read(command, "", "crp")
        signed = f"{messages},{message.rpartition(',p=')[0]}".encode()
        signature = _sign(self._credentials.stored_key, signed)
        proof = base64.b64decode(fields["p"]).ljust(len(signature))
        client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=False))
        proven = hmac.compare_digest(
            hashlib.sha256(client_key).digest(), self._credentials.stored_key
        )
        if not proven or fields["c"] != "biws" or fields["r"] != nonce:
            raise _failed()
        answer = base64.b64encode(_sign(self._credentials.server_key, signed))
        self.authenticated, self._proven = self._skip_empty, not self._skip_empty
        return {"conversationId": 1, "done": self._skip_empty, "payload": b"v=" + answer}


def _read(command: dict[str, Any], header: str, needed: str) -> tuple[str, dict[str, str]]:
    """A SCRAM message without its header, and the fields of it."""
    try:
        text = bytes(command["payload"]).decode("ascii")
        fields = dict(part.split("=", 1) for part in text.removeprefix(header).split(","))
        base64.b64decode(fields.get("p", ""), validate=True)
    except (KeyError, TypeError, ValueError):
        raise _failed() from None
    if not text.startswith(header) or not set(needed) <= fields.keys():
        raise _failed()
    return text.removeprefix(header), fields


def _failed() -> CommandError:
    return CommandError(AUTHENTICATION_FAILED, "Authentication failed.")


def _sign(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()
