"""``crysearch verify``: chosen structures with another engine, properties, verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from crysearch.cli import common, verdict_figures, verdicts
from crysearch.errors import SpecError
from crysearch.verification import PROPERTIES, VerificationSpec


def verify(
    identifiers: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID]...",
            help="Relaxed structures: beginnings of their ids, or known structures, `mp-149`.",
        ),
    ] = None,
    search: Annotated[
        str, typer.Option(help="`latest`, the name of a search, or the beginning of its id.")
    ] = "latest",
    best: Annotated[
        int | None, typer.Option(min=1, help="The so many distinct crystals of lowest energy.")
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="With --best: only new ones.")] = False,
    file: Annotated[
        Path | None, typer.Option("--spec", help="A verification in YAML; options change it.")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(help="Relax once more with `espresso`, `gpaw`, `vasp` or another engine."),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            "-o",
            metavar="NAME=VALUE",
            help="Of the engine, such as `functional=lda`; may be repeated.",
        ),
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(help="Of VASP: `lda` (published), `mp-pbe` or `mp-r2scan`.")
    ] = None,
    properties: Annotated[
        str | None,
        typer.Option(help=f"Some of {', '.join(PROPERTIES)}, with commas, or `none`."),
    ] = None,
    references: Annotated[
        list[str] | None,
        typer.Option("--reference", help="A known structure to calculate as well; repeatable."),
    ] = None,
    submit: Annotated[
        bool, typer.Option("--submit", help="Put it on FireWorks' launch pad instead of running.")
    ] = False,
    folder: Annotated[
        Path, typer.Option("--folder", help="Where VASP runs, if it runs here.")
    ] = Path("crysearch-calculations"),
    figures: Annotated[Path, typer.Option("--figures", help="Folder for the figures.")] = Path(
        "crysearch-figures"
    ),
) -> None:
    """Judge structures: stability, bands, X-rays, and energies of a first-principles engine."""
    content = _content(file, engine, options or [], protocol, properties, references or [])
    spec = VerificationSpec.build(content)
    if (best is None) == (not identifiers):
        raise SpecError("name structures by their ids, or give --best N, one of the two")
    if new and best is None:
        raise SpecError("--new: only with --best N")
    from crysearch.records import queries
    from crysearch.workflows import verification

    with common.reading() as records:
        found = queries.resolve_search(records, search)["_id"]
        subjects = (
            verification.best_distinct(records, found, best, new)
            if best is not None
            else verification.find_subjects(records, found, identifiers or [])
        )
    if submit:
        submission = verification.submit_verification(found, subjects, spec)
        ids = submission.fw_ids
        typer.echo(
            f"Verification {spec.identifier[:8]} of {len(subjects)} structures of search "
            f"{found[:8]}: {len(ids)} jobs ({ids[0]} to {ids[-1]}), {submission.state}.\n\nNext:\n"
            "  rlaunch rapidfire          a worker on this machine\n"
            "  qlaunch rapidfire          workers through the queue system\n"
            f"  crysearch show {subjects[0][:10]}"
        )
        return
    typer.echo(
        f"Verifying {len(subjects)} structures of search {found[:8]} "
        f"(verification {spec.identifier[:8]}).",
        err=True,
    )
    try:
        verification.run_verification(found, subjects, spec, folder)
    except KeyboardInterrupt:
        typer.echo("\nInterrupted. The same command continues.", err=True)
        raise typer.Exit(130) from None
    with common.reading() as records:
        written = records.find(
            "verdicts",
            {"search": found, "verification": spec.identifier, "relaxation_id": {"$in": subjects}},
        )
        order = {key: place for place, key in enumerate(subjects)}
        written.sort(key=lambda verdict: order[verdict["relaxation_id"]])
        verdicts.print_table(written)
        drawn = verdict_figures.draw(records, spec, written, figures / found)
    if drawn:
        typer.echo(f"\nFigures: {len(drawn)} in {drawn[0].parent}")
    typer.echo(f"\nNext:\n  crysearch show {subjects[0][:10]}")


def _content(
    file: Path | None,
    engine: str | None,
    options: list[str],
    protocol: str | None,
    properties: str | None,
    references: list[str],
) -> dict[str, Any]:
    """The verification in the file, if any, with the options of the command line applied."""
    spec = VerificationSpec() if file is None else VerificationSpec.from_yaml(file)
    content = spec.model_dump(mode="json")
    if engine is not None:
        content["level"]["engine"] = engine
    if protocol is not None:
        content["level"]["protocol"] = protocol
    for option in options:
        name, sign, value = option.partition("=")
        if not sign or not name.strip():
            raise SpecError(f"--option {option}: write NAME=VALUE, such as functional=lda")
        content["level"]["options"][name.strip()] = yaml.safe_load(value)
    if properties is not None:
        wanted = [] if properties == "none" else properties.split(",")
        content["properties"]["wanted"] = [name.strip() for name in wanted]
    content["references"] += references
    return content
