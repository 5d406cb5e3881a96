"""``crysearch data``: data sets of reference calculations."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crysearch.cli import common
from crysearch.errors import DatasetError
from crysearch.records import datasets, open_records
from crysearch.settings import load_settings

if TYPE_CHECKING:
    from crysearch.datasets import Limits
    from crysearch.records import RecordStore

app = typer.Typer(
    help="Data sets of reference calculations: import, check, split, export.", no_args_is_help=True
)

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Of the data set, or the beginning of its id.")
]
FormatOption = Annotated[common.Format, typer.Option(help="Form of the output.")]

_LIST = {
    "name": "name",
    "method": "method",
    "configurations": "configurations",
    "atoms": "atoms",
    "flagged": "flagged",
    "formulas": "formulas",
    "_id": "id",
}


@app.command("import")
def import_(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Extended XYZ; .gz is unpacked.")
    ],
    name: Annotated[str, typer.Option(help="Of the data set; one that exists is added to.")],
    method: Annotated[
        str, typer.Option(help="The reference method, such as `VASP, PBE, 520 eV`; one for a set.")
    ],
    licence: Annotated[str | None, typer.Option(help="Of the files.")] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="SHARES",
            help="Of training, validation and test set. [default: 0.8,0.1,0.1]",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the splits. [default: 0]")] = None,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="A key of the frames; those with one value stay in one split."
        ),
    ] = None,
    energy_key: Annotated[str, typer.Option(help="Name of the energy (eV).")] = "energy",
    forces_key: Annotated[str, typer.Option(help="Name of the forces (eV/Å).")] = "forces",
    stress_key: Annotated[str, typer.Option(help="Name of the stress (eV/Å³).")] = "stress",
    virial_key: Annotated[
        str | None, typer.Option(help="Name of the virial (eV). [default: virial or virials]")
    ] = None,
) -> None:
    """Read files into a data set, check and split it; if one cannot be read, nothing is written."""
    from crysearch.datasets import Keys
    from crysearch.workflows.datasets import import_files

    keys = Keys(energy=energy_key, forces=forces_key, stress=stress_key)
    if virial_key is not None:
        keys = Keys(energy_key, forces_key, stress_key, (virial_key,))
    fractions = None if split is None else _fractions(split)
    with _writing() as records:
        done = import_files(
            records,
            files,
            name=name,
            method=method,
            licence=licence,
            fractions=fractions,
            seed=seed,
            group_key=group,
            keys=keys,
        )
    _print_dataset(done.dataset)
    typer.echo(
        f"\nRead {done.frames:,} frames: {done.added:,} new configurations, {done.replaced:,} that "
        f"were there, {done.repeated:,} repeated exactly."
    )
    quoted = shlex.quote(done.dataset["name"])
    _next(f"data show {quoted} --flagged", f"data export {quoted} --to train.extxyz --split train")


@app.command("list")
def list_(format: FormatOption = common.Format.table) -> None:
    """Show all data sets."""
    with common.reading() as records:
        found = datasets.datasets(records)
    if not found and format is common.Format.table:
        typer.echo("No data sets yet.")
        _next("data import FILE --name NAME --method METHOD")
        return
    rows = [
        {name: one.get(name, one["counts"].get(name)) for name in _LIST}
        | {"_id": one["_id"][:10], "formulas": _shown(one["formulas"])}
        for one in found
    ]
    common.print_rows(rows, format, columns=list(_LIST), headings=_LIST)


@app.command()
def show(
    name: NameArgument,
    flagged: Annotated[
        bool, typer.Option("--flagged", help="List the flagged configurations with the reasons.")
    ] = False,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, help="With --flagged: rows at most.")
    ] = 20,
    format: FormatOption = common.Format.table,
) -> None:
    """Show what a data set holds."""
    with common.reading() as records:
        found = datasets.resolve_dataset(records, name)
        rows = _flagged(records, found, limit) if flagged else []
    if format is not common.Format.table:
        shown = rows if flagged else [found]
        common.print_rows(shown, format, columns=list(shown[0]) if shown else [])
        return
    _print_dataset(found)
    if flagged:
        typer.echo()
        _print_findings(rows, found["counts"]["flagged"])


@app.command()
def export(
    name: NameArgument,
    to: Annotated[Path, typer.Option("--to", help="File, .extxyz or .extxyz.gz.")],
    split: Annotated[
        str | None, typer.Option(help="`train`, `validation` or `test`; otherwise all.")
    ] = None,
    flagged: Annotated[bool, typer.Option("--flagged", help="Also what checks flagged.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace a file that is there.")] = False,
) -> None:
    """Write a data set as extended XYZ, without the flagged configurations."""
    from crysearch.workflows.datasets import export_dataset

    with common.reading() as records:
        number = export_dataset(records, name, to, split, flagged=flagged, overwrite=overwrite)
    typer.echo(f"wrote {number:,} configurations to {to}")


@app.command()
def select(
    name: NameArgument,
    method: Annotated[
        str,
        typer.Option(
            help="`random`; uniform in `global-energy`, `forces` or `atomic-energies`; by features "
            "`farthest-point` or `cur`."
        ),
    ],
    count: Annotated[int, typer.Option(min=1, help="Configurations to choose.")],
    seed: Annotated[int, typer.Option(min=0, help="Of the choice.")] = 0,
    into: Annotated[
        str | None, typer.Option(help="Name of the new data set. [default: made of the choice]")
    ] = None,
    split: Annotated[
        str, typer.Option(help="Choose from `train`, `validation`, `test` or `all`.")
    ] = "train",
    potential: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Take the atomic energies or features of this potential; otherwise those stored, "
            "and SOAP.",
        ),
    ] = None,
) -> None:
    """Make a new data set of chosen configurations; see docs/datasets.md."""
    from crysearch.workflows.datasets import select_dataset

    with _writing() as records:
        document = select_dataset(
            records,
            name,
            method=method,
            count=count,
            seed=seed,
            into=into,
            split=None if split == "all" else split,
            potential=potential,
        )
    _print_dataset(document)
    _next(f"potential train {shlex.quote(document['name'])}")


@app.command()
def check(
    name: NameArgument,
    limits: Annotated[
        list[str] | None,
        typer.Option(
            "--limit",
            "-l",
            metavar="NAME=VALUE",
            help="Change a limit, such as maximum_force=30; may be repeated, and is kept.",
        ),
    ] = None,
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, help="Findings shown at most.")] = 20,
    format: FormatOption = common.Format.table,
) -> None:
    """Check a data set again, perhaps with other limits, and keep the flags."""
    from crysearch.workflows.datasets import check_dataset

    with _writing() as records:
        found = datasets.resolve_dataset(records, name)
        changed = _limits(found["limits"], limits) if limits else None
        found, findings = check_dataset(records, found["_id"], changed)
    columns = ("configuration", "flag", "reason")
    table = [dict(zip(columns, finding, strict=True)) for finding in findings]
    if format is not common.Format.table:
        common.print_rows(table, format, columns=columns)
        return
    _print_dataset(found)
    typer.echo()
    _print_findings(table[:rows], len(table))


def _writing() -> RecordStore:
    settings = load_settings()
    return open_records(settings.database.get_secret_value(), patience=settings.database_patience)


def _fractions(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise DatasetError(
            f"--split {text}: give three shares (training, validation, test), such as 0.8,0.1,0.1"
        ) from None


def _limits(present: Mapping[str, float], changes: list[str]) -> Limits:
    from crysearch.datasets import Limits

    changed = dict(present)
    for change in changes:
        name, sign, value = change.partition("=")
        name = name.strip()
        if not sign or name not in present:
            raise DatasetError(
                f"--limit {change}: write NAME=VALUE with one of {', '.join(sorted(present))}"
            )
        try:
            changed[name] = float(value)
        except ValueError:
            raise DatasetError(f"--limit {change}: {value!r} is not a number") from None
    return Limits(**changed)


def _flagged(records: RecordStore, dataset: Mapping[str, Any], limit: int) -> list[dict[str, Any]]:
    query = {"dataset": dataset["_id"], "flags": {"$ne": []}}
    wanted = ["index", "flags", "findings"]
    found = records.find("configurations", query, wanted, [("index", 1)], limit)
    return [
        {"configuration": one["index"], "flag": flag, "reason": reason}
        for one in found
        for flag, reason in zip(one["flags"], one["findings"], strict=True)
    ][:limit]


def _print_dataset(found: Mapping[str, Any]) -> None:
    counts = found["counts"]
    energies = (found["lowest_energy_per_atom"], found["highest_energy_per_atom"])
    shares = ", ".join(f"{name} {share:g}" for name, share in found["fractions"].items())
    grouped = f", grouped by {found['group_key']}" if found["group_key"] else ""
    rows = {
        "data set": f"{found['name']} ({found['_id'][:10]})",
        "method": found["method"],
        "configurations": f"{counts['configurations']:,} with {counts['atoms']:,} atoms; "
        f"{counts['with_forces']:,} with forces, {counts['with_stress']:,} with stress",
        "formulas": _shown(found["formulas"]),
        "energies": "–"
        if energies[0] is None
        else f"{energies[0]:.4f} to {energies[1]:.4f} eV/atom",
        "splits": f"{common.as_text(counts['by_split'])} ({shares}; seed {found['seed']}{grouped})",
        "flagged": f"{counts['flagged']:,}: {common.as_text(counts['by_flag'])}"
        if counts["flagged"]
        else "none",
    }
    for source in found["sources"]:
        before = f"{rows['sources']}; " if "sources" in rows else ""
        rows["sources"] = before + _source(source)
    if found["status"] != "complete":
        rows["status"] = "an import goes on or was interrupted: run it again"
    width = max(map(len, rows))
    for heading, value in rows.items():
        typer.echo(f"{heading:<{width}}  {value}")


def _source(source: dict[str, Any]) -> str:
    if "file" not in source:
        return ", ".join(f"{kind.replace('_', ' ')} {key}" for kind, key in source.items())
    licence = source["licence"] or "licence not given"
    return f"{source['file']}, {source['frames']:,} frames, {licence}"


def _print_findings(rows: list[dict[str, Any]], number: int) -> None:
    if not rows:
        typer.echo("Nothing is flagged.")
        return
    common.print_rows(rows, common.Format.table, columns=list(rows[0]))
    if number > len(rows):
        typer.echo(f"… {number:,} in all: -n shows more")


def _shown(formulas: Mapping[str, int], most: int = 6) -> str:
    """The most frequent formulas with their numbers."""
    shown = ", ".join(f"{formula} {n:,}" for formula, n in list(formulas.items())[:most])
    return shown + (f", and {len(formulas) - most} more" if len(formulas) > most else "")


def _next(*commands: str) -> None:
    typer.echo("\nNext:\n" + "\n".join(f"  crysearch {command}" for command in commands))
