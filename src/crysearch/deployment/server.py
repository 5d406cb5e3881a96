"""The MongoDB server that a project uses, and how each target names it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode

from dotenv import dotenv_values
from pydantic import SecretStr

from crysearch import localdb
from crysearch.errors import SettingsError

DATABASE = "crysearch"
SELECTION_TIMEOUT_MS = 120_000
_PORT = 27017


@dataclass(frozen=True)
class Server:
    """A MongoDB server, with its credentials apart from its address.

    FireWorks and maggma print the address in their messages, so that no password may be in it.

    Attributes
    ----------
    address
        A host name, or a ``mongodb://`` or ``mongodb+srv://`` address without credentials.
    port
        Its port; None where the address holds it.
    auth_source
        The database that knows the user.
    """

    address: str
    port: int | None
    username: str
    password: SecretStr
    database: str
    auth_source: str

    @property
    def has_password(self) -> bool:
        """Whether the files that name it hold a secret."""
        return bool(self.password.get_secret_value())


def local_server(folder: Path) -> Server:
    """The local store in a folder, started if it does not run."""
    address = localdb.ensure_running(folder)
    return Server(
        address.host,
        address.port,
        address.username,
        SecretStr(address.password.get_secret_value()),
        DATABASE,
        auth_source="admin",
    )


def server_of_uri(uri: SecretStr) -> Server:
    """The server of a ``mongodb://`` address.

    Raises
    ------
    SettingsError
        It is none; the text never shows it, for it may hold a password.
    """
    scheme, found, rest = uri.get_secret_value().partition("://")
    login, _, rest = rest.rpartition("@")
    hosts, _, rest = rest.partition("/")
    name, _, query = rest.partition("?")
    if not found or scheme not in ("mongodb", "mongodb+srv") or not hosts or "?" in hosts:
        raise SettingsError(
            "database: is not the address of a MongoDB server (it is not shown, for it may hold a "
            "password); give mongodb://user:password@host:27017/crysearch, with any of "
            ": / ? # [ ] @ % in the password percent-encoded"
        )
    username, _, password = login.partition(":")
    options = dict(parse_qsl(query))
    # MongoDB's options ignore case. A user belongs to the database in the path, else to admin.
    source = next((options.pop(key) for key in list(options) if key.lower() == "authsource"), None)
    single = scheme == "mongodb" and not options and "," not in hosts and "[" not in hosts
    host, _, port = hosts.partition(":")
    if single and (not port or port.isdecimal()):
        address, number = host, int(port or _PORT)
    else:
        query = f"/?{urlencode(options)}" if options else ""
        address, number = f"{scheme}://{hosts}{query}", None
    return Server(
        address,
        number,
        unquote(username),
        SecretStr(unquote(password)),
        unquote(name) or DATABASE,
        source or unquote(name) or "admin",
    )


def docker_uri(folders: Sequence[Path], environ: Mapping[str, str]) -> SecretStr:
    """The address of ``docker-compose.yml``'s server, with credentials of the first ``.env`` found.

    As with Docker itself, the environment wins over the file.

    Raises
    ------
    SettingsError
        A credential is missing; names which, and where it was looked for.
    """
    places = [folder / ".env" for folder in folders]
    found = next((place for place in places if place.is_file()), None)
    values = {**(dotenv_values(found) if found else {}), **environ}
    names = ("CRYSEARCH_MONGO_USERNAME", "CRYSEARCH_MONGO_PASSWORD")
    if missing := [name for name in names if not values.get(name)]:
        where = f"in {found}" if found else f"in a file .env ({folders[0]} and the folders above)"
        raise SettingsError(
            f"{', '.join(missing)}: set neither in the environment nor {where}; copy .env.example "
            "to .env and fill it in, as for `docker compose up`"
        )
    port = values.get("CRYSEARCH_MONGO_PORT") or str(_PORT)
    if not port.isdecimal():
        raise SettingsError("CRYSEARCH_MONGO_PORT: is not a port number; correct it in .env")
    username, password = (quote(str(values[name]), safe="") for name in names)
    return SecretStr(f"mongodb://{username}:{password}@127.0.0.1:{port}/{DATABASE}")
