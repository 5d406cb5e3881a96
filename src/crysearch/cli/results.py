"""``crysearch results``: tables of what was found."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from crysearch.cli import common
from crysearch.records import RecordStore, queries

#: Field → heading of the table that a search ends with.
BEST = {
    "_id": "id",
    "formula": "formula",
    "symmetry": "space group",
    "energy_above_reference_ground_state": "E (eV/atom)",
    "nearest_reference_after.reference_id": "nearest",
    "nearest_reference_after.distance": "distance",
    "verdict": "new?",
    "groups": "group",
}


def results(
    search: common.SearchArgument = "latest",
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            "-f",
            metavar="EXPRESSION",
            help="Such as `is_new=true`, `energy_above_ground_state_found<0.2`, `groups=I`; may "
            "be repeated.",
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(help="Field to sort by; a minus sign in front puts the largest first."),
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Fields to show, with commas; `list` names them all.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="Rows at most.")] = None,
    format: Annotated[common.Format, typer.Option(help="Form of the output.")] = (
        common.Format.table
    ),
    collection: Annotated[
        str,
        typer.Option(
            help="relaxations, candidates, references, replicas, models, batches or failures."
        ),
    ] = "relaxations",
    duplicates: Annotated[
        bool, typer.Option("--duplicates", help="Also what repeats another relaxed structure.")
    ] = False,
    references: Annotated[
        bool, typer.Option("--references", help="Also the relaxed known structures.")
    ] = False,
) -> None:
    """Show the relaxed structures of a search, or its other records."""
    if columns == "list":
        for name in queries.filterable_fields(collection):
            typer.echo(name)
        return
    with common.reading() as records:
        found = queries.resolve_search(records, search)
        if collection == "relaxations" and columns is None and format is common.Format.table:
            rows = best_rows(
                records, found["_id"], filters or [], sort, limit, duplicates, references
            )
            common.print_rows(rows, format, columns=list(BEST), headings=BEST)
            return
        names = [name.strip() for name in columns.split(",")] if columns else None
        default = "energy_above_ground_state_found" if collection == "relaxations" else "_id"
        rows = queries.results(
            records,
            found["_id"],
            filters or [],
            sort=sort or default,
            limit=limit,
            columns=names,
            collection=collection,
            include_duplicates=duplicates,
            include_references=references,
        )
    shown = list(rows[0]) if rows else (names or list(queries.filterable_fields(collection)))
    common.print_rows(rows, format, columns=shown)


def best_rows(
    records: RecordStore,
    search: str,
    filters: list[str],
    sort: str | None = None,
    limit: int | None = None,
    duplicates: bool = False,
    references: bool = False,
) -> list[dict[str, Any]]:
    """Rows of the table that a search ends with: lowest energy first."""
    rows = queries.results(
        records,
        search,
        filters,
        sort=sort or "energy_above_ground_state_found",
        limit=limit,
        columns=[
            *(name for name in BEST if name not in ("symmetry", "verdict")),
            "space_group_before.symbol",
            "space_group_after.symbol",
            "is_new",
            "matches",
            "converged",
        ],
        include_duplicates=duplicates,
        include_references=references,
    )
    for row in rows:
        row["_id"] = row["_id"][:10]
        before, after = (row[f"space_group_{when}.symbol"] or "?" for when in ("before", "after"))
        row["symmetry"] = f"{before} → {after}"
        if row["is_new"]:
            row["verdict"] = "new"
        elif row["is_new"] is False:
            row["verdict"] = row["matches"]
        else:
            row["verdict"] = None if row["converged"] else "not converged"
    return rows


def print_best(records: RecordStore, search: str, limit: int) -> str | None:
    """Print the best structures; returns the id of the best new one, or of the best."""
    rows = best_rows(records, search, [], limit=limit)
    common.print_rows(
        rows,
        common.Format.table,
        columns=list(BEST),
        headings=BEST,
        title="Lowest in energy (above the ground state of the known structures, same engine)",
    )
    new = [row["_id"] for row in rows if row["is_new"]]
    return (new or [row["_id"] for row in rows] or [None])[0]
