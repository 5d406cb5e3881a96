"""``crysearch assess``: how good and how fast potentials are, against a reference."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from crysearch.assessment_spec import AssessmentSpec
from crysearch.cli import common
from crysearch.cli.run import command_line, folder_for, parse_change, say
from crysearch.errors import AnalysisError, SpecError
from crysearch.records.assessments import QUANTITIES

Document = dict[str, Any]


class TableFormat(StrEnum):
    """How the tables are printed."""

    table = "table"
    markdown = "markdown"
    json = "json"


def assess(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="An engine of docs/engines.md, or the beginning of the id of a potential trained "
            "here; several are set side by side.",
        ),
    ],
    reference: Annotated[
        str | None,
        typer.Option(
            help="An engine or potential to hold them against, or `none`; by default the engine "
            "that a potential trained here learned from."
        ),
    ] = None,
    composition: Annotated[
        str | None, typer.Option(help="Whose bundled known structures are the phases; Si.")
    ] = None,
    phases: Annotated[
        str | None,
        typer.Option(help="Ids of them, with commas, the ground state first; by default a choice."),
    ] = None,
    structures: Annotated[
        list[Path] | None,
        typer.Option(help="A file, folder or glob of crystals instead; may be repeated."),
    ] = None,
    only: Annotated[
        str | None, typer.Option(help=f"Some of {', '.join(QUANTITIES)}, with commas.")
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            "-o",
            metavar="NAME=VALUE",
            help="Of the engine MODEL, MODEL.NAME=VALUE if there are several; may be repeated.",
        ),
    ] = None,
    reference_options: Annotated[
        list[str] | None,
        typer.Option("--reference-option", metavar="NAME=VALUE", help="Of the reference."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            metavar="FIELD=VALUE",
            help="Change a setting, such as `cost.time_limit=30` or `relaxation.seed=1`; may be "
            "repeated. See docs/assessment.md.",
        ),
    ] = None,
    largest_cell: Annotated[
        int | None,
        typer.Option(min=1, help="Atoms of the largest cell whose cost is measured; 100,000."),
    ] = None,
    submit: Annotated[
        bool, typer.Option("--submit", help="Put it on FireWorks' launch pad instead of running.")
    ] = False,
    show: Annotated[
        bool, typer.Option("--show", help="Only show what is computed; computes nothing new.")
    ] = False,
    format: Annotated[TableFormat, typer.Option(help="Form of the tables.")] = TableFormat.table,
    as_json: Annotated[
        bool, typer.Option("--json", help="The same as `--format json`: documents and differences.")
    ] = False,
    figures: Annotated[Path, typer.Option("--figures", help="Folder for the figure.")] = Path(
        "crysearch-figures"
    ),
) -> None:
    """Assess potentials: phases, equations of state, elasticity, phonons, cost.

    What was computed before with the same settings is not computed again; see docs/assessment.md.
    """
    if submit and show:
        raise SpecError("--submit, --show: give one of the two")
    options_of = _options_of(models, options or [])
    from crysearch.workflows import assessment as workflow

    content = _content(composition, phases, structures or [], only, largest_cell)
    changed = dict(parse_change(change) for change in changes or [])
    specs: dict[str, AssessmentSpec] = {}

    def add(model: str, given: Document) -> str:
        engine, known = workflow.engine_of(model, given)
        spec = AssessmentSpec.build({**content, "engine": engine, "options": known})
        spec = workflow.whole_spec(spec.with_changes(changed))
        name = _name(spec)
        # Only a reference that is also a model, with other options, has the same name.
        if name in specs and specs[name] != spec:
            name = f"{name} (2)"
        specs[name] = spec
        return name

    names = [add(model, options_of[model]) for model in models]
    if reference is None and len(names) == 1:
        reference = workflow.reference_of(specs[names[0]])
    against = None
    if reference not in (None, "none"):
        assert reference is not None
        given = [parse_change(one, "--reference-option") for one in reference_options or []]
        against = add(reference, dict(given))
    # The reference comes first in tables and figures.
    order = [against] * (against is not None) + [name for name in specs if name != against]
    chosen = {name: specs[name] for name in order if name is not None}
    if submit:
        _submit(chosen)
        return
    documents = {name: _document(name, spec, show) for name, spec in chosen.items()}
    _report(documents, chosen, against, TableFormat.json if as_json else format, figures)


def _content(
    composition: str | None,
    phases: str | None,
    structures: Sequence[Path],
    only: str | None,
    largest_cell: int | None,
) -> Document:
    """What the options say of every specification."""
    from crysearch.workflows.assessment import own_structures

    content: Document = {}
    if structures and (phases or composition):
        raise SpecError("--structures: take the place of --composition and --phases")
    if structures:
        content["structures"] = own_structures(structures)
    if composition is not None:
        content["composition"] = composition
    if phases is not None:
        content["phases"] = _split(phases)
    if only is not None:
        content["quantities"] = _split(only)
    if largest_cell is not None:
        content["cost"] = {"largest": largest_cell}
    return content


def _options_of(models: Sequence[str], given: Sequence[str]) -> dict[str, Document]:
    """The options of each model: of the only one, or of those named before a dot."""
    found: dict[str, Document] = {model: {} for model in models}
    for option in given:
        name, value = parse_change(option, "--option")
        model, dot, rest = name.partition(".")
        if len(models) == 1 and not (dot and model == models[0]):
            model, rest = models[0], name
        elif not dot or model not in found:
            raise SpecError(
                f"--option: {option!r} — there are several models, so name one of "
                f"{', '.join(models)} before it: {models[0]}.{name}=…"
            )
        found[model][rest] = value
    return found


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _name(spec: AssessmentSpec) -> str:
    """What an engine is called in tables."""
    if "potential" in spec.options:
        return f"potential {str(spec.options['potential'])[:8]}"
    values = " ".join(str(value) for value in spec.options.values())
    return f"{spec.engine} {values}".strip()


def _submit(specs: Mapping[str, AssessmentSpec]) -> None:
    from crysearch.workflows.assessment import submit_assessment

    for name, spec in specs.items():
        submission = submit_assessment(spec)
        ids = submission.fw_ids
        typer.echo(
            f"Assessment of {name}: {len(ids)} jobs ({ids[0]} to {ids[-1]}), {submission.state}."
        )
    typer.echo(
        "\nNext:\n  rlaunch rapidfire          a worker on this machine\n"
        "  qlaunch rapidfire          workers through the queue system\n"
        "  the same command with --show instead of --submit"
    )


def _document(name: str, spec: AssessmentSpec, show: bool) -> Document:
    """The assessment, computed first unless it is only to be shown."""
    from crysearch.workflows.assessment import assessment_of, run_assessment

    if not show:
        say(f"Assessing {name} on {spec.composition}: {', '.join(spec.quantities)}.")
        try:
            return run_assessment(spec)
        except KeyboardInterrupt:
            say("\nInterrupted. The same command continues.")
            raise typer.Exit(130) from None
    with common.reading() as records:
        found = assessment_of(records, spec)
        if found is None:
            raise SpecError(
                f"{name}: not assessed with these settings in {records.description}; run the same "
                "command without --show"
            )
    return found


def _report(
    documents: Mapping[str, Document],
    specs: Mapping[str, AssessmentSpec],
    reference: str | None,
    format: TableFormat,
    figures: Path,
) -> None:
    from crysearch.cli import assessment_tables
    from crysearch.plotting import plot_assessments
    from crysearch.records.assessments import computed

    spec = next(iter(specs.values()))
    assessed = {name: _asked(computed(found), specs[name]) for name, found in documents.items()}
    if format is TableFormat.json:
        found = assessment_tables.comparisons(assessed, reference)
        content = {
            "reference": reference,
            "assessments": dict(documents),
            "differences": {name: one.to_dict() for name, one in found.items()},
            "measured": {
                key: {"value": one.value, "source": one.source}
                for key, one in assessment_tables.measured_of(assessed, spec.composition).items()
            },
        }
        json.dump(content, sys.stdout, indent=2, default=str, ensure_ascii=False)
        sys.stdout.write("\n")
        return
    made = assessment_tables.tables(assessed, reference, spec.composition)
    for table in made:
        if format is TableFormat.markdown:
            typer.echo(assessment_tables.markdown(table))
        else:
            assessment_tables.show(table)
    sources = assessment_tables.measured_of(assessed, spec.composition).values()
    if sources:
        said = "; ".join(dict.fromkeys(one.source for one in sources))
        typer.echo(f"Measured: {said}.")
    for line in _reasons(documents, specs):
        typer.echo(line)
    name = "-".join([spec.composition, *(specs[name].engine for name in assessed)])
    path = folder_for(figures) / f"assessment-{name}.png"
    try:
        plot_assessments(assessed, reference, path)
    except AnalysisError as error:
        say(f"no figure: {error}")
    else:
        typer.echo(f"\nFigure: {path}")
    typer.echo(
        "\nNext:\n  the same command with --show --format markdown, or json"
        f"\n  {command_line()} verify --help"
    )


def _asked(found: Mapping[str, Any], spec: AssessmentSpec) -> Document:
    """Of what is in the records, what the command asks for; the phases belong to everything."""
    return {k: v for k, v in found.items() if k == "phases" or k in spec.quantities}


def _reasons(documents: Mapping[str, Document], specs: Mapping[str, AssessmentSpec]) -> list[str]:
    """What was not computed, and why."""
    lines = []
    for name, document in documents.items():
        for quantity in QUANTITIES:
            if quantity != "phases" and quantity not in specs[name].quantities:
                continue
            part = document["quantities"][quantity]
            what = f"{name}, {quantity.replace('_', ' ')}"
            if part is None:
                lines.append(f"{what}: not computed yet")
                continue
            if part["settings_id"] != specs[name].settings_id(quantity):
                settings = common.as_text(part["settings"])
                lines.append(f"{what}: with other settings than asked for: {settings}")
            if part["status"] != "computed":
                lines.append(f"{what}: {part['status'].replace('_', ' ')}: {part['reason']}")
                continue
            if quantity == "cost" and part["values"]["stopped"]:
                lines.append(f"{what}: stopped: {part['values']['stopped']}")
            if quantity in ("phases", "equation_of_state"):
                lines += [
                    f"{what}, {one['name']}: {reason}"
                    for one in part["values"]
                    for reason in (one["reason"], one.get("disturbed_reason"))
                    if reason
                ]
    return lines
