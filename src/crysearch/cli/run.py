"""``crysearch run``: a whole search on this machine."""

from __future__ import annotations

import inspect
import re
import runpy
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import typer
import yaml

from crysearch.active_learning_spec import ActiveLearningSpec
from crysearch.cli import common, results
from crysearch.dynamics_spec import DynamicsSpec
from crysearch.errors import SpecError
from crysearch.protocol_spec import ProtocolSpec
from crysearch.spec import SearchSpec

Spec = TypeVar("Spec", SearchSpec, ActiveLearningSpec, DynamicsSpec, ProtocolSpec)


class Goal(StrEnum):
    """What a search makes, in this order."""

    references = "references"
    replicas = "replicas"
    candidates = "candidates"
    verdicts = "verdicts"


def run(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="SPEC",
            help="A specification in YAML, or a Python file that defines `build_spec`.",
        ),
    ],
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            metavar="FIELD=VALUE",
            help="Change a field, such as `screening.quotas.I=12`, or give a parameter of "
            "`build_spec`; may be repeated.",
        ),
    ] = None,
    figures: Annotated[Path, typer.Option("--figures", help="Folder for the figures.")] = Path(
        "crysearch-figures"
    ),
    limit: Annotated[int, typer.Option(min=1, help="Rows of the table at the end.")] = 15,
    until: Annotated[
        Goal,
        typer.Option(help="Where to pause; the same command without it goes on from there."),
    ] = Goal.verdicts,
) -> None:
    """Run a search to its end, or continue one that was interrupted."""
    spec = read_spec(file, changes or [])
    # Imported late, here and in all commands: pymatgen, torch and jobflow take seconds to load.
    from crysearch.cli.plot import draw_all
    from crysearch.records import queries
    from crysearch.workflows import run_search
    from crysearch.workflows.context import check_device, validate, with_whole_ids

    spec = with_whole_ids(spec)
    validate(spec)
    check_device(spec)
    folder = folder_for(figures / spec.search_id)
    before = status_of(spec)
    if before == "complete":
        say(f"Search {spec.search_id} is complete already: showing its records.")
    else:
        verb = "Starting" if before is None else "Continuing"
        say(f"{verb} search {spec.search_id} ({spec.name}: {spec.composition}).")
        started = time.monotonic()
        try:
            finished = run_search(spec, until.value)
        except KeyboardInterrupt:
            say("\nInterrupted. The same command continues the search.")
            raise typer.Exit(130) from None
        taken = duration(time.monotonic() - started)
        if not finished:
            say(f"Paused after {taken} with the {until.value} made.")
            _paused(spec)
            return
        say(f"Search finished in {taken}.")
    if not any(spec.screening.quotas.model_dump().values()):
        _only_known(spec)
        return
    out = common.console()
    with common.reading() as records:
        best = results.print_best(records, spec.search_id, limit)
        counts = queries.counts(records, spec.search_id)
        out.print()
        out.print(_sentence(counts), markup=False)
        drawn = draw_all(records, spec.search_id, folder)
        out.print(f"Figures: {len(drawn)} in {folder}", markup=False)
        out.print(f"Records: {records.description}", markup=False)
    command, search = command_line(), spec.search_id[:8]
    lines = [f"results {search} --filter is_new=true"]
    if best is not None:
        lines += [f"show {best}", f"export {best} --format cif", f"verify {best}"]
    lines += [f"status {search}", "--help"]
    out.print("\nNext:\n" + "\n".join(f"  {command} {line}" for line in lines), markup=False)


def _only_known(spec: SearchSpec) -> None:
    """What there is of a search that asks for no random crystals."""
    with common.reading() as records:
        here = {"search": spec.search_id}
        names = {
            document["_id"]: document["reference_id"]
            for document in records.find("references", here, ["reference_id"])
        }
        columns = ["parent_id", "formula", "space_group_after.symbol", "energy_per_atom", "density"]
        found = records.find("relaxations", here, columns, [("energy_per_atom", 1), ("_id", 1)])
    rows = [
        {
            "known structure": names[document["parent_id"]],
            "formula": document["formula"],
            "space group": (document["space_group_after"] or {}).get("symbol"),
            "E (eV/atom)": document["energy_per_atom"] - found[0]["energy_per_atom"],
            "density (g/cm³)": document["density"],
        }
        for document in found
    ]
    common.print_rows(rows, common.Format.table, columns=list(rows[0]) if rows else [])
    first = Path(rows[0]["known structure"]).stem if rows else "ID"
    typer.echo(f"\nNext:\n  {command_line()} verify {first}\n  {command_line()} verify --help")


def _paused(spec: SearchSpec) -> None:
    """What there is, and how to go on."""
    from crysearch.records import queries

    with common.reading() as records:
        counts = queries.counts(records, spec.search_id)
        replicas = records.count("replicas", {"search": spec.search_id})
    kept = dict(counts["candidates"])
    total = kept.pop("total")
    quotas = spec.screening.quotas.model_dump()
    groups = ", ".join(f"{kept[name]} in group {name}" for name, quota in quotas.items() if quota)
    there = f"{counts['references']['sound']} known structures, {replicas} replicas"
    if total:
        there += (
            f", {counts['accepted']:,} random crystals screened, "
            f"{counts['guided']['set_out']:,} guided, {total} kept: {groups}"
        )
    lines = [
        f"{there}.",
        "\nNext:",
        f"  {command_line()} status {spec.search_id[:8]}",
        "  the same command without --until, which goes on from here",
    ]
    typer.echo("\n".join(lines))


def read_spec(file: Path, changes: list[str]) -> SearchSpec:
    """The specification of a search in a file; see :func:`read_spec_of`."""
    return read_spec_of(SearchSpec, file, changes)


def read_spec_of(kind: type[Spec], file: Path, changes: list[str]) -> Spec:
    """The specification in a file, with changes applied.

    Parameters
    ----------
    kind
        What it must be.
    file
        YAML, or Python that defines ``build_spec``.
    changes
        ``FIELD=VALUE``, or a parameter of ``build_spec`` with its value.

    Raises
    ------
    SpecError
        If the file or a change cannot be read or is invalid.
    """
    return cast(Spec, _read((kind,), file, changes))


def read_dynamics_spec(file: Path, changes: list[str]) -> DynamicsSpec | ProtocolSpec:
    """Molecular dynamics, or a protocol of them, in a file; see :func:`read_spec_of`.

    A YAML file with `stages` is a protocol.
    """
    if file.suffix == ".py":
        both = (DynamicsSpec, ProtocolSpec)
        return cast(DynamicsSpec | ProtocolSpec, _read(both, file, changes))
    content = None
    with suppress(OSError, UnicodeDecodeError, yaml.YAMLError):  # said when it is read as a whole
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    if isinstance(content, Mapping) and "stages" in content:
        return read_spec_of(ProtocolSpec, file, changes)
    return read_spec_of(DynamicsSpec, file, changes)


def _read(kinds: tuple[type[Any], ...], file: Path, changes: list[str]) -> Any:
    values = dict(parse_change(change) for change in changes)
    if file.suffix != ".py":
        spec = kinds[0].from_yaml(file)
        return spec.with_changes(values) if values else spec
    build = _builder(file)
    parameters = inspect.signature(build).parameters
    arguments = {name: value for name, value in values.items() if name in parameters}
    rest = {name: value for name, value in values.items() if name not in parameters}
    fields = {name: None for kind in kinds for name in kind.model_fields}
    unknown = [name for name in rest if name.split(".")[0] not in fields]
    if unknown:
        raise SpecError(
            f"--set {unknown[0]}: neither a parameter of build_spec in {file} "
            f"({', '.join(parameters)}) nor a field of the specification "
            f"({', '.join(fields)})"
        )
    try:
        spec = build(**arguments)
    except (TypeError, ValueError) as error:
        raise SpecError(f"{file}: build_spec with {arguments}: {error}") from error
    if not isinstance(spec, kinds):
        commands: dict[type[Any], str] = {
            ActiveLearningSpec: "crysearch learn",
            DynamicsSpec: "crysearch dynamics run",
            ProtocolSpec: "crysearch dynamics run",
            SearchSpec: "crysearch run",
        }
        other = f"; try {commands[type(spec)]}" if type(spec) in commands else ""
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise SpecError(
            f"{file}: build_spec returned a {type(spec).__name__}, where a {wanted} is "
            f"needed{other}"
        )
    return spec.with_changes(rest) if rest else spec


def _builder(file: Path) -> Callable[..., Any]:
    if not file.is_file():
        raise SpecError(f"{file}: no such file")
    build = runpy.run_path(str(file)).get("build_spec")
    if not callable(build):
        raise SpecError(f"{file}: defines no function build_spec that returns a specification")
    return build


def parse_change(change: str, option: str = "--set") -> tuple[str, Any]:
    """Name and value of a change written as FIELD=VALUE; ids are text, also those of digits only.

    Raises
    ------
    SpecError
        If it is written otherwise.
    """
    name, sign, value = change.partition("=")
    if not sign or not name.strip():
        raise SpecError(f"{option} {change}: write FIELD=VALUE, such as screening.quotas.I=12")
    if name.split(".")[-1].strip() == "potential" and re.fullmatch("[0-9a-f]+", value.strip()):
        return name.strip(), value.strip()
    try:
        return name.strip(), yaml.safe_load(value)
    except yaml.YAMLError:
        raise SpecError(f"{option} {change}: {value!r} is not a YAML value") from None


def status_of(spec: SearchSpec) -> str | None:
    """Status of the search in the records, if it is there; a new name is taken over."""
    from crysearch.workflows import stages
    from crysearch.workflows.context import job_records

    with job_records() as records:
        known = records.get("searches", spec.search_id)
        if known is None:
            return None
        stages.check_unchanged(records, spec)
        if known["name"] != spec.name:
            records.update("searches", {spec.search_id: {"name": spec.name}})
    return known["status"]


def folder_for(path: Path) -> Path:
    """Make the folder for the figures; raises :class:`SpecError` where that is impossible."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(
            f"--figures {path}: cannot be made ({error.strerror}); give another folder"
        ) from None
    return path


def say(text: str) -> None:
    """Tell the person at the terminal, and not the file that the output may go to."""
    typer.echo(text, err=True)


def duration(seconds: float) -> str:
    """A time as a person says it."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def command_line() -> str:
    """The command as a person would type it from here, with the database they named."""
    program = Path(sys.argv[0])
    command = program.name if program.name == "crysearch" else "python -m crysearch"
    if program.name == "crysearch" and shutil.which("crysearch") is None:
        try:
            command = str(program.absolute().relative_to(Path.cwd()))
        except ValueError:
            command = str(program)
    for place, word in enumerate(sys.argv[1:-1], 1):
        if word in ("-d", "--database"):
            return f"{command} -d {shlex.quote(sys.argv[place + 1])}"
    return command


def _sentence(counts: dict[str, Any]) -> str:
    failed = sum(sum(reasons.values()) for reasons in counts["failures"].values())
    guided = counts["guided"]
    moved = f"{guided['set_out']:,} guided, " if guided["set_out"] else ""
    text = (
        f"{counts['accepted']:,} random crystals screened, {moved}"
        f"{counts['candidates']['total']} kept, "
        f"{counts['relaxed']['total']} relaxed ({counts['converged']['total']} converged): "
        f"{counts['new']['total']} new, {counts['matching']['total']} known, "
        f"{counts['duplicates']} duplicates"
    )
    return text + (
        f", {failed} failed (crysearch results --collection failures)." if failed else "."
    )
