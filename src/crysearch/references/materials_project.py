"""Known structures from the Materials Project, through its own client `mp_api`.

One query per composition. Of what the client can do only the summary endpoint is used: its
top-level ``MPRester`` would ask for the heartbeat twice, without a time limit, and open further
endpoints; here the heartbeat is asked once, for the database version.
"""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any, cast
from urllib.parse import urlsplit

import requests
from pydantic import SecretStr
from pymatgen.core import Composition, Structure
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from crysearch.errors import ReferencesError
from crysearch.references.base import Reference, reduced_composition

DEFAULT_ENDPOINT = "https://api.materialsproject.org/"
KEY_PAGE = "https://next-gen.materialsproject.org/api"
STATUS_PAGE = "https://status.materialsproject.org"

_FIELDS = [
    "material_id",
    "structure",
    "symmetry",
    "energy_per_atom",
    "formation_energy_per_atom",
    "energy_above_hull",
    "theoretical",
    "deprecated",
    "last_updated",
    "builder_meta",
]
_METADATA = (
    "energy_per_atom",
    "formation_energy_per_atom",
    "energy_above_hull",
    "theoretical",
    "last_updated",
)
_ENERGY_ORIGIN = "Materials Project energy_per_atom, difference from the lowest of the composition"
_PAGE_SIZE = 1000
_KEY_LENGTH = 32
# What the client raises on an answer that is JSON, but not the expected one.
_UNEXPECTED = (ValueError, TypeError, KeyError, AttributeError)
_TRANSIENT = (429, 502, 503, 504)
_OFFLINE = "use the bundled snapshots or files of your own meanwhile"


def fetch_materials_project(
    formula: str,
    api_key: SecretStr | None,
    *,
    endpoint: str | None = None,
    include_gnome: bool = True,
    timeout: float = 20.0,
    retries: int = 3,
    longest_wait: float = 10.0,
) -> list[Reference]:
    """All current Materials Project entries of one composition.

    Parameters
    ----------
    formula
        Composition, such as ``"Si"`` or ``"SnSe"``; only the ratio counts.
    api_key
        Personal key of the Materials Project. It is sent to `endpoint` and appears nowhere else.
    endpoint
        Address of the interface; the public one by default. Must be https, unless on this machine.
    include_gnome
        Also entries that stem from GNoME; these are licensed CC BY-NC 4.0, the others CC BY 4.0
        (``metadata["license"]`` says which).
    timeout
        Longest silence of the server that is waited for, s.
    retries
        How often a request is repeated when the server is busy (429, 502, 503, 504) or does not
        answer, with growing pauses.
    longest_wait
        Longest pause between two attempts, s, whatever the server asks for.

    Returns
    -------
    list of Reference
        Sorted by the number in the id, deprecated entries left out. The energy above the ground
        state is the difference of ``energy_per_atom`` from the lowest one in this answer.
        ``metadata`` holds ``database_version`` and ``fetched_at`` (UTC) next to the entry's own
        energies (eV per atom), ``theoretical``, ``last_updated`` and ``license``.

    Raises
    ------
    ReferencesError
        If the formula, key or endpoint is invalid, the key refused, the server not reached, busy,
        broken or not understood, or if there is no entry; one sentence with the way out.
    """
    composition = reduced_composition(formula)
    api_key = _checked_key(api_key)
    address = _checked_endpoint(endpoint or DEFAULT_ENDPOINT)
    with _Session(retries, longest_wait) as session:
        database_version, documents, problem = _query(
            session, composition.reduced_formula, api_key, address, include_gnome, timeout
        )
    if problem is not None:
        # Raised here and not where it was caught: a caught error may quote the key.
        raise ReferencesError(f"Materials Project: {problem}.")
    references = _references(documents, composition, database_version)
    if not references:
        raise ReferencesError(
            "Materials Project: no current entry has the composition "
            f"{composition.reduced_formula} (database {database_version}); check the formula, or "
            "give structure files of your own."
        )
    return references


class _Session(requests.Session):
    """A session with bounded patience that remembers how the last request ended."""

    def __init__(self, retries: int, longest_wait: float) -> None:
        super().__init__()
        self.last_status: int | None = None
        patience = Retry(
            total=retries,
            status_forcelist=_TRANSIENT,
            raise_on_status=False,
            backoff_factor=0.5,
            backoff_max=longest_wait,
            retry_after_max=longest_wait,  # type: ignore[arg-type]
        )
        for scheme in ("https://", "http://"):
            self.mount(scheme, HTTPAdapter(max_retries=patience))

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        self.last_status = None
        response = super().send(request, **kwargs)
        self.last_status = response.status_code
        return response

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """Do for the key what requests does for passwords: keep it from another host."""
        super().rebuild_auth(prepared_request, response)
        if self.should_strip_auth(response.request.url or "", prepared_request.url or ""):
            prepared_request.headers.pop("x-api-key", None)


def _query(
    session: _Session,
    formula: str,
    api_key: SecretStr,
    endpoint: str,
    include_gnome: bool,
    timeout: float,
) -> tuple[str, list[dict[str, Any]], str | None]:
    """Database version, documents and, instead of both, what went wrong."""
    # Takes seconds to import, and only this needs it.
    from mp_api.client import MPRestError
    from mp_api.client.routes.materials.summary import SummaryRester

    class Summary(SummaryRester):
        @staticmethod
        def _get_heartbeat_info(endpoint: str) -> tuple[str, list[str]]:  # type: ignore[override]
            """Asked already, with a time limit; the batch ids serve bulk downloads only."""
            return database_version, []

    try:
        heartbeat = session.get(endpoint + "heartbeat", timeout=timeout)
        heartbeat.raise_for_status()
        database_version = str(heartbeat.json()["db_version"])
        client = Summary(
            api_key=api_key.get_secret_value(),
            endpoint=endpoint,
            session=session,
            use_document_model=False,
            mute_progress_bars=True,
            timeout=timeout,  # type: ignore[arg-type]
        )
        # Deprecated entries are sorted out here, not by the server: its filter has been reported
        # to drop current entries that lack the flag.
        answer = cast(
            "list[dict[str, Any]]",
            client.search(
                formula=formula,
                fields=_FIELDS,
                all_fields=False,
                chunk_size=_PAGE_SIZE,
                include_gnome=include_gnome,
            ),
        )
        documents = [{**document, "material_id": document["material_id"]} for document in answer]
    except (MPRestError, requests.RequestException, *_UNEXPECTED) as error:
        return "", [], _problem(error, session.last_status, endpoint)
    return database_version, documents, None


def _problem(error: BaseException, status: int | None, endpoint: str) -> str:
    """What went wrong and the way out, without any text of the server or of the error."""
    if status is None:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, requests.RequestException):
            cause = cause.__context__
        return (
            f"{endpoint} cannot be reached ({type(cause or error).__name__}); check the network, "
            f"proxy and endpoint, or {_OFFLINE}"
        )
    if status in (401, 403):
        return (
            f"the API key was refused (HTTP {status}); copy your current key from {KEY_PAGE}, or "
            f"{_OFFLINE}"
        )
    if status == 429:
        return (
            "too many requests for this API key (HTTP 429), also after waiting; try again in "
            f"some minutes, or {_OFFLINE}"
        )
    if status >= 500:
        return (
            f"the server is out of order (HTTP {status}); see {STATUS_PAGE}, try again later, "
            f"or {_OFFLINE}"
        )
    if status >= 400:
        return (
            f"{endpoint} does not know this request (HTTP {status}); check the endpoint, or "
            "update mp-api (pip install --upgrade mp-api)"
        )
    return (
        f"{endpoint} answers, but not as the Materials Project does ({type(error).__name__}); "
        "check the endpoint, and that no login page of your network answers in its place"
    )


def _references(
    documents: list[dict[str, Any]], composition: Composition, database_version: str
) -> list[Reference]:
    fetched_at = datetime.now(UTC).isoformat(timespec="seconds")
    current = sorted(
        (document for document in documents if not document.get("deprecated")),
        key=lambda document: _id_order(str(document.get("material_id"))),
    )
    structures = [_structure(document) for document in current]
    energies = [
        document.get("energy_per_atom")
        if structure.composition.reduced_composition == composition
        else None
        for document, structure in zip(current, structures, strict=True)
    ]
    ground = min((energy for energy in energies if energy is not None), default=float("nan"))
    references = []
    for document, structure, energy in zip(current, structures, energies, strict=True):
        metadata = {name: document.get(name) for name in _METADATA}
        metadata["license"] = (document.get("builder_meta") or {}).get("license")
        metadata["database_version"] = database_version
        metadata["fetched_at"] = fetched_at
        references.append(
            Reference(
                reference_id=str(document["material_id"]),
                structure=structure,
                source=f"Materials Project, database {database_version}",
                energy_above_ground_state=None if energy is None else energy - ground,
                energy_origin=None if energy is None else _ENERGY_ORIGIN,
                reported_space_group=(document.get("symmetry") or {}).get("number"),
                metadata=metadata,
            )
        )
    return references


def _structure(document: dict[str, Any]) -> Structure:
    try:
        return Structure.from_dict(document["structure"]).remove_oxidation_states()
    except _UNEXPECTED as error:
        raise ReferencesError(
            f"Materials Project: the structure of {document.get('material_id')} cannot be read "
            f"({type(error).__name__}); update mp-api and pymatgen."
        ) from error


def _id_order(material_id: str) -> tuple[int, int | str]:
    number = material_id.rpartition("-")[2]
    return (0, int(number)) if number.isdigit() else (1, material_id)


def _checked_key(api_key: SecretStr | None) -> SecretStr:
    key = SecretStr("" if api_key is None else api_key.get_secret_value().strip())
    if not key:
        raise ReferencesError(
            f"Materials Project: no API key given; get a free one at {KEY_PAGE} and put it into "
            f"the environment (MP_API_KEY) or the settings file, or {_OFFLINE}."
        )
    text = key.get_secret_value()
    well_formed = len(text) == _KEY_LENGTH and text.isascii() and text.isalnum()
    del text
    if not well_formed:
        raise ReferencesError(
            f"Materials Project: the API key is not {_KEY_LENGTH} letters and digits (this one "
            f"has {len(key)} characters); copy it again from {KEY_PAGE}."
        )
    return key


def _checked_endpoint(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    if parts.scheme == "https" and parts.hostname:
        return endpoint.rstrip("/") + "/"
    if parts.scheme == "http" and parts.hostname and _is_loopback(parts.hostname):
        return endpoint.rstrip("/") + "/"
    raise ReferencesError(
        f"Materials Project: endpoint {endpoint!r} is not an https address, so the API key would "
        f"travel in the open; give one such as {DEFAULT_ENDPOINT}."
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
