"""``crysearch export``: structures as files."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from crysearch.cli import common
from crysearch.errors import RecordsError
from crysearch.records import RecordStore, queries
from crysearch.records.values import structure_from_document


class FileFormat(StrEnum):
    """Formats of structure files."""

    cif = "cif"
    poscar = "poscar"
    extxyz = "extxyz"
    json = "json"


SUFFIX = {"cif": ".cif", "poscar": ".vasp", "extxyz": ".extxyz", "json": ".json"}
_FACTS = (
    "_id",
    "search",
    "parent_id",
    "engine",
    "energy",
    "energy_per_atom",
    "energy_above_ground_state_found",
    "energy_above_reference_ground_state",
    "converged",
    "is_new",
    "matches",
    "groups",
    "reference_id",
)


def export(
    identifier: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="The beginning of an id; with --all, leave it out."),
    ] = None,
    all_of: Annotated[
        str | None,
        typer.Option("--all", metavar="SEARCH", help="Every relaxed structure of a search."),
    ] = None,
    filters: Annotated[
        list[str] | None, typer.Option("--filter", "-f", help="With --all: as for `results`.")
    ] = None,
    format: Annotated[FileFormat, typer.Option(help="Format of the files.")] = FileFormat.cif,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File (one structure, or all in extxyz or JSON) or folder; `-` for standard "
            "output.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace files that are there.")] = False,
) -> None:
    """Write one structure, or all of a search, as CIF, POSCAR, extended XYZ or JSON."""
    if (identifier is None) == (all_of is None):
        raise typer.BadParameter("give either an ID or --all SEARCH")
    with common.reading() as records:
        if identifier is not None:
            _, document = common.find_document(
                records,
                identifier,
                collections=("relaxations", "candidates", "references", "frames"),
            )
            found = [document]
        else:
            found = _of_search(records, all_of or "latest", filters or [])
    if not found:
        raise RecordsError("no structure matches: `crysearch results` shows what there is")
    together = all_of is not None and format in (FileFormat.extxyz, FileFormat.json)
    content = (
        json.dumps([_plain(document) for document in found], indent=1) + "\n"
        if together and format is FileFormat.json
        else "".join(_text(document, format) for document in found)
    )
    if str(output) == "-":
        if all_of is not None and not together:
            raise typer.BadParameter("several structures on standard output: use extxyz or json")
        typer.echo(content, nl=False)
        return
    if identifier is not None or together:
        name = found[0]["_id"][:10] if identifier is not None else f"search-{found[0]['search']}"
        path = output or Path(name + SUFFIX[format])
        if path.is_dir():
            path = path / (name + SUFFIX[format])
        _write({path: content}, overwrite)
        return
    folder = output or Path(f"search-{found[0]['search']}")
    if folder.exists() and not folder.is_dir():
        raise RecordsError(f"--output {folder}: is a file; give a folder for several files")
    _write(
        {folder / _file_name(document, format): _text(document, format) for document in found},
        overwrite,
    )


def _of_search(records: RecordStore, search: str, filters: list[str]) -> list[dict[str, Any]]:
    found = queries.resolve_search(records, search)
    rows = queries.results(records, found["_id"], filters, columns=["_id"])
    by_id = {d["_id"]: d for d in records.find("relaxations", {"search": found["_id"]})}
    return [by_id[row["_id"]] for row in rows]


def _file_name(document: dict[str, Any], format: FileFormat) -> str:
    symbol = (document.get("space_group_after") or {}).get("symbol", "unknown")
    safe = re.sub(r"[^A-Za-z0-9-]", "_", symbol)
    return f"{document['formula']}-{safe}-{document['_id'][:10]}{SUFFIX[format]}"


def _text(document: dict[str, Any], format: FileFormat) -> str:
    structure = structure_from_document(document)
    if format is FileFormat.cif:
        from pymatgen.io.cif import CifWriter

        return str(CifWriter(structure))
    if format is FileFormat.poscar:
        from pymatgen.io.vasp import Poscar

        return str(Poscar(structure.get_sorted_structure(), comment=f"crysearch {document['_id']}"))
    if format is FileFormat.extxyz:
        from io import StringIO

        from ase.io import write
        from pymatgen.io.ase import AseAtomsAdaptor

        atoms = AseAtomsAdaptor.get_atoms(structure)
        facts = {
            name.lstrip("_"): document[name] for name in _FACTS if document.get(name) is not None
        }
        atoms.info = {k: " ".join(v) if isinstance(v, list) else v for k, v in facts.items()}
        stream = StringIO()
        write(stream, atoms, format="extxyz")
        return stream.getvalue()
    return json.dumps(_plain(document), indent=1) + "\n"


def _plain(document: dict[str, Any]) -> dict[str, Any]:
    facts = {name: document[name] for name in _FACTS if name in document}
    return facts | {"structure": structure_from_document(document).as_dict()}


def _write(files: dict[Path, str], overwrite: bool) -> None:
    """Write all files, or none if one of them is there already."""
    existing = [path for path in files if path.exists()]
    if existing and not overwrite:
        raise RecordsError(f"{existing[0]} exists already: give --overwrite or another --output")
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    path = next(iter(files))
    typer.echo(f"wrote {path}" if len(files) == 1 else f"wrote {len(files)} files in {path.parent}")
