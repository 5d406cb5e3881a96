"""``crysearch show``: one document, where a structure comes from, and the verdicts on it."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer
from bson.binary import Binary

from crysearch.cli import common, verdicts
from crysearch.records import RecordStore, queries
from crysearch.records.values import from_binary_array, structure_from_document

_CLUSTERS = 15


def show(
    identifier: Annotated[
        str, typer.Argument(metavar="ID", help="The beginning of an id, or such as `mp-149`.")
    ],
    lineage: Annotated[
        bool, typer.Option("--lineage", "-l", help="Where a relaxed structure comes from.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The whole document as JSON.")] = False,
) -> None:
    """Show one record."""
    with common.reading() as records:
        collection, document = common.find_document(records, identifier)
        ancestry = (
            queries.lineage(records, document["_id"]) if collection == "relaxations" else None
        )
        found = [document] if collection == "verdicts" else _verdicts(records, collection, document)
    content: Any = ancestry if lineage and ancestry is not None else document
    if as_json:
        json.dump(content, sys.stdout, indent=2, default=_plain, ensure_ascii=False)
        sys.stdout.write("\n")
        return
    typer.echo(f"{collection} {document['_id']}\n")
    hidden = (
        *("structure", "initial_structure", "fingerprint", "provenance", "_id", "input"),
        *("answers", "levels", "verification_spec", "values", "forces", "site_metadata"),
    )
    rows = [
        {"field": name, "value": _counted(value)}
        for name, value in document.items()
        if name not in hidden and value is not None and name != "history"
    ]
    if collection == "models":
        rows.append({"field": "training", "value": _training(document["history"])})
    common.print_rows(rows, common.Format.table, columns=["field", "value"])
    if collection == "cycles" and document["clusters"]:
        _print_clusters(document)
    if "structure" in document:
        typer.echo(f"\n{structure_from_document(document)}")
    if ancestry is not None:
        typer.echo("\nWhere it comes from:")
        for line in _ancestry_lines(ancestry):
            typer.echo(f"  {line}")
    for verdict in found:
        verdicts.print_verdict(verdict)


def _counted(value: Any) -> Any:
    """The value; of a long list of documents only how many there are."""
    many = isinstance(value, list) and len(value) > 3 and isinstance(value[0], dict)
    return f"{len(value)} (all of them: --json)" if many else _without_vectors(value)


def _without_vectors(value: Any) -> Any:
    """The value without the vectors in its parts, which nobody reads in a table."""
    if isinstance(value, dict):
        return {
            name: _without_vectors(part)
            for name, part in value.items()
            if not isinstance(part, bytes)
        }
    return [_without_vectors(part) for part in value] if isinstance(value, list) else value


def _print_clusters(cycle: dict[str, Any]) -> None:
    """The best clusters of a cycle of an active learning, each by its best member."""
    chosen = {one["candidate"] for one in cycle["chosen"]}
    rows = [
        {
            "cluster": cluster["rank"] + 1,
            "structures": cluster["size"],
            "best": cluster["candidate"][:10],
            "relaxation": cluster["status"],
            "Ē (eV/atom)": cluster["energy_per_atom"],
            "± (eV/atom)": cluster["energy_deviation"],
            "± force (eV/Å)": cluster["force_deviation"],
            "chosen": cluster["candidate"] in chosen,
        }
        for cluster in cycle["clusters"][:_CLUSTERS]
    ]
    typer.echo()
    common.print_rows(rows, common.Format.table, columns=list(rows[0]), title="Best clusters")


def _training(history: dict[str, Any]) -> str:
    """How a model was trained, and to which losses."""
    curves = ("train_reconstruction", "train_divergence")
    held_out = ("validation_reconstruction", "validation_divergence")
    losses = [sum(history[name][-1] for name in names) for names in (curves, held_out)]
    epochs = len(history["train_reconstruction"])
    # Models of earlier versions were all trained with Adam.
    told = (
        f"{epochs} epochs in batches of {history['batch_size']}, "
        f"{history.get('optimizer', 'adam')} at learning rate {history['learning_rate']:g}"
    )
    if history.get("annealing_epochs"):
        told += f", annealed over {history['annealing_epochs']} epochs"
    return f"{told}; loss {losses[0]:.1f}, held out {losses[1]:.1f} nats per structure"


def _verdicts(
    records: RecordStore, collection: str, document: dict[str, Any]
) -> list[dict[str, Any]]:
    """The verdicts on a relaxation, or on a known structure, oldest first."""
    if collection == "relaxations":
        query = {"relaxation_id": document["_id"]}
    elif collection == "references":
        query = {"search": document["search"], "label": document["reference_id"]}
    else:
        return []
    return records.find("verdicts", query, sort=[("created_at", 1), ("_id", 1)])


def _ancestry_lines(ancestry: dict[str, Any]) -> list[str]:
    relaxation, candidate = ancestry["relaxation"], ancestry["candidate"]
    lines = [f"relaxation {relaxation['_id']} with {relaxation['engine']}"]
    if ancestry["reference"] is not None:
        lines.append(f"of the known structure {ancestry['reference']['reference_id']}")
    if candidate is not None:
        lines.append(
            f"of random crystal {candidate['_id']}: seed {candidate['seed']}, number "
            f"{candidate['index']}, space group {candidate['space_group_requested']}, Wyckoff "
            f"positions {candidate['wyckoff']}"
        )
        for name in ("nearest_reference", "nearest_replica"):
            nearest = candidate[name]
            if nearest is not None:
                label = nearest.get("reference_id") or nearest.get("label")
                lines.append(
                    f"{name.replace('_', ' ')} {label} ({nearest['id']}) at Pearson's distance "
                    f"{nearest['distance']:.3f}"
                )
    if ancestry["model"] is not None:
        model, replica = ancestry["model"], ancestry["nearest_replica"]
        told = ""
        if replica.get("condition") is not None:
            told = f" with {model['condition']} {replica['condition']:g}"
        lines.append(
            f"replica decoded{told} by {model['model']} {model['_id']}, seed {model['seed']}, "
            f"trained on {len(ancestry['references'])} known structures"
        )
    return lines


def _plain(value: Any) -> Any:
    if isinstance(value, Binary):
        return list(value.as_vector().data)
    if isinstance(value, bytes):
        return from_binary_array(value, (-1,)).tolist()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
