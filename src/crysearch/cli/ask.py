"""``crysearch ask``: the questions of `crysearch.records.questions`, each a command of its own."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, get_origin, get_type_hints

import typer

from crysearch.cli import common
from crysearch.records import RecordStore, queries, questions

app = typer.Typer(
    help="Ask one of the questions that people ask most.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

_HELP = {
    "search": "`latest`, the name of a search, or the beginning of its id.",
    "other": "The search to compare with: a name, or the beginning of its id.",
    "structure": "The beginning of the id of a relaxed structure.",
    "composition": "A formula such as `SnSe`.",
    "label": "The replica's place in the grid, such as `7 3`.",
    "references": "Only near this known structure, such as `mp-149`; may be repeated.",
    "reason": "One of those that `failures-by-reason` lists.",
    "minimum": "g/cm³.",
    "maximum": "g/cm³.",
    "energy": "At most this much above the ground state, eV/atom.",
    "within": "At most this far, in Pearson's distance.",
    "limit": "Rows at most.",
}
#: Fields with long names → headings of the tables.
_HEADINGS = {
    "_id": "id",
    "space_group_after.symbol": "space group",
    "energy_above_ground_state_found": "E (eV/atom)",
    "energy_above_ground_state": "E (eV/atom)",
    "nearest_reference_after.reference_id": "nearest",
    "nearest_reference_after.distance": "distance",
    "nearest_reference.reference_id": "nearest",
    "nearest_reference.distance": "distance",
    "nearest_replica.label": "replica",
    "nearest_replica.distance": "distance to it",
    "space_group_requested": "space group",
    "space_group_symbol": "space group",
    "is_new": "new?",
}
_ID = re.compile(r"[0-9a-f]{16,64}")
_FORMAT = typer.Option("--format", help="Form of the output.")
_SPELLED = {"references": ["--reference", "-r"], "limit": ["--limit", "-n"]}


def command(name: str, ask: Callable[..., questions.Rows]) -> Callable[..., None]:
    """Return the command that asks a question, its parameters made from the question's own.

    Parameters without a default are arguments, the others options; the search is always an option.
    """
    parameters = list(inspect.signature(ask).parameters.values())[1:]
    kinds = {key: _kind(hint) for key, hint in get_type_hints(ask).items() if key != "return"}

    def run(format: common.Format, **given: Any) -> None:
        with common.reading() as records:
            answer = ask(records, **_resolved(records, given))
        _print(answer, format)

    run.__name__ = name
    run.__doc__ = inspect.getdoc(ask)
    options = [_parameter(parameter, kinds[parameter.name]) for parameter in parameters]
    options.append(_keyword("format", Annotated[common.Format, _FORMAT], common.Format.table))
    run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    run.__annotations__ = {option.name: option.annotation for option in options}
    return run


def _parameter(parameter: inspect.Parameter, kind: Any) -> inspect.Parameter:
    name, default = parameter.name, parameter.default
    if name == "search":
        option = typer.Option("--search", "-s", help=_HELP[name])
        return _keyword(name, Annotated[kind, option], "latest")
    if default is inspect.Parameter.empty:
        return _keyword(name, Annotated[kind, typer.Argument(help=_HELP[name])], default)
    option = typer.Option(*_SPELLED.get(name, []), help=_HELP[name])
    return _keyword(name, Annotated[kind, option], default or None)


def _keyword(name: str, kind: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _kind(hint: Any) -> Any:
    """What the command line takes for a parameter: text, a number, or several texts."""
    return list[str] if get_origin(hint) is Sequence else hint


def _resolved(records: RecordStore, given: dict[str, Any]) -> dict[str, Any]:
    """Ids for what people write: names of searches, beginnings of ids, numbers in labels."""
    arguments = dict(given)
    for name in ("search", "other"):
        if name in given:
            arguments[name] = queries.resolve_search(records, given[name])["_id"]
    if "structure" in given:
        _, found = common.find_document(records, given["structure"], collections=["relaxations"])
        arguments["structure"] = found["_id"]
    if "label" in given:
        arguments["label"] = [int(p) if p.isdecimal() else p for p in given["label"]]
    if "references" in given:
        arguments["references"] = given["references"] or []
    return arguments


def _print(answer: questions.Rows, format: common.Format) -> None:
    if format is common.Format.table and not answer:
        typer.echo("Nothing found.")
        return
    columns = list(answer[0]) if answer else []
    if format is not common.Format.json:
        # A whole structure fits in no cell.
        long = {name for row in answer for name, value in row.items() if isinstance(value, dict)}
        columns = [name for name in columns if name not in long]
    if format is common.Format.table:
        answer = [{name: _shortened(row[name]) for name in columns} for row in answer]
    common.print_rows(answer, format, columns=columns, headings=_HEADINGS)


def _shortened(value: Any) -> Any:
    """An id as far as people need it: every command takes the beginning of one."""
    return value[:10] if isinstance(value, str) and _ID.fullmatch(value) else value


for _name, _ask in questions.QUESTIONS.items():
    app.command(_name.replace("_", "-"))(command(_name, _ask))
