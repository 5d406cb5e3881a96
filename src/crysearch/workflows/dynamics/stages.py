"""The stages of a protocol into the records, each an ordinary run of molecular dynamics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pymatgen.core import Structure

from crysearch.errors import CrysearchError, DatabaseAbsent, DynamicsError
from crysearch.protocol_spec import ProtocolSpec
from crysearch.records import RecordStore, protocols
from crysearch.records.schema_dynamics import ProtocolStatus
from crysearch.workflows.dynamics.running import conclude, open_dynamics, run_state_point
from crysearch.workflows.dynamics.starting import settle, start_structure, with_whole_ids

Row = dict[str, Any]

_OF_THE_RUN = (
    *("status", "failure", "failure_detail", "frames", "duration", "temperature", "pressure"),
    *("potential_energy_per_atom", "mean_volume_per_atom", "mean_density", "seconds"),
)


@dataclass(frozen=True)
class AskedProtocol:
    """A protocol that can be run: its structure is at hand, its engine is settled.

    Attributes
    ----------
    spec
        With whose integrators are used, and whole ids.
    structure
        What it begins with.
    """

    spec: ProtocolSpec
    structure: Structure

    @property
    def content(self) -> dict[str, Any]:
        """What decides the results, beside the structure."""
        elsewhere = {"name", "structure", "compare_with", "stages"}
        content = self.spec.model_dump(mode="json", exclude=elsewhere)
        if self.spec.structure.run is not None:
            # Its velocities are another beginning than the same structure from a file.
            content["run"] = self.spec.structure.run
        content["stages"] = [
            stage.model_dump(mode="json") | {"after": self.spec.before(stage.name)}
            for stage in self.spec.stages
        ]
        return content

    @property
    def identifier(self) -> str:
        """The ``_id`` of the document."""
        return protocols.protocol_id(self.content, self.structure)

    def rows(self) -> list[Row]:
        """The stages before they are run."""
        return [_row(self.spec, stage.name) for stage in self.spec.stages]

    def document(self, status: ProtocolStatus) -> dict[str, Any]:
        """The document of the records."""
        return protocols.protocol_document(
            name=self.spec.name,
            spec=self.spec.model_dump(mode="json"),
            asked=self.content,
            structure=self.structure,
            engine=self.spec.engine,
            seed=self.spec.seed,
            stages=self.rows(),
            status=status,
            compare_with=self.spec.compare_with,
            parents=[run] if (run := self.spec.structure.run) is not None else [],
        )


def settle_protocol(records: RecordStore, spec: ProtocolSpec) -> AskedProtocol:
    """Find the structure, and check that the engine can take it, before any work starts.

    Raises
    ------
    SpecError
        Lists what cannot work.
    """
    beginning = [stage.name for stage in spec.stages if spec.before(stage.name) is None]
    # All stages have one engine and the elements of one structure.
    first = settle(with_whole_ids(records, spec.dynamics(beginning[0]))).spec
    changes: dict[str, Any] = {"engine": first.engine, "options": dict(first.options)}
    if first.structure.run is not None:
        changes["structure.run"] = first.structure.run
    spec = spec.with_changes(changes)
    return AskedProtocol(spec, start_structure(spec.structure))


def open_protocol(records: RecordStore, asked: AskedProtocol, status: ProtocolStatus) -> None:
    """Write the document; of one that is there, the stages that are not done wait again."""
    records.ensure_indexes()
    known = records.get("protocols", asked.identifier)
    if known is None:
        records.upsert("protocols", [asked.document(status)])
        return
    changes: dict[str, Any] = {
        "name": asked.spec.name,
        "spec": asked.spec.model_dump(mode="json"),
        "status": status,
        "compare_with": asked.spec.compare_with,
    }
    for place, (row, fresh) in enumerate(zip(known["stages"], asked.rows(), strict=True)):
        if row["status"] in ("failed", "not run"):
            changes[f"stages.{place}"] = fresh
    records.update("protocols", {asked.identifier: changes})


def run_stage(records: RecordStore, identifier: str, name: str) -> Row:
    """Run a stage of a protocol, unless it has been; where it cannot be run, write down why.

    Each stage writes its own row: branches that run at once do not touch each other's.

    Returns
    -------
    dict
        Its status and the ``_id`` of its run.

    Raises
    ------
    DynamicsError
        The protocol is not in the records.
    DatabaseAbsent
        The database does not answer.
    """
    found = _found(records, identifier)
    spec = ProtocolSpec.build(found["spec"])
    rows = {row["name"]: row for row in found["stages"]}
    before = spec.before(name)
    try:
        if before is not None and rows[before]["status"] != "finished":
            facts = _not_run(rows[before])
        else:
            run = None if before is None else rows[before]["trajectory"]
            facts = _run(records, spec, name, run)
    except DatabaseAbsent:
        raise
    except CrysearchError as error:
        # Other branches do not need it.
        facts = {"status": "failed", "failure": "error", "failure_detail": str(error)}
    row = _row(spec, name, **facts)
    place = [stage.name for stage in spec.stages].index(name)
    records.update("protocols", {identifier: {f"stages.{place}": row}})
    return {"stage": name, "status": row["status"], "trajectory": row["trajectory"]}


def conclude_protocol(records: RecordStore, identifier: str) -> Row:
    """Write what became of the protocol as a whole."""
    rows = _found(records, identifier)["stages"]
    counts = Counter(row["status"] for row in rows)
    status: ProtocolStatus = "incomplete"
    if counts["waiting"]:
        status = "running"
    elif counts["finished"] == len(rows):
        status = "complete"
    records.update("protocols", {identifier: {"status": status}})
    return {
        "protocol": identifier,
        "stages": len(rows),
        **{name: counts[name] for name in ("finished", "exploded", "failed", "not run")},
    }


def stages_to_run(records: RecordStore, asked: AskedProtocol) -> list[str]:
    """Stages that wait or have failed, or whose run is no longer in the records."""
    known = records.get("protocols", asked.identifier)
    if known is None:
        return [stage.name for stage in asked.spec.stages]
    ids = [row["trajectory"] for row in known["stages"] if row["trajectory"] is not None]
    there = {one["_id"] for one in records.find("trajectories", {"_id": {"$in": ids}}, ["_id"])}
    return [
        row["name"]
        for row in known["stages"]
        if row["status"] in ("waiting", "failed")
        or (row["trajectory"] is not None and row["trajectory"] not in there)
    ]


def _found(records: RecordStore, identifier: str) -> Row:
    found = records.get("protocols", identifier)
    if found is None:
        raise DynamicsError(
            f"protocol {identifier} is not in the records at {records.description}: the settings "
            "of this worker name another database than the one it was started in (see "
            "`crysearch doctor`)"
        )
    return found


def _run(records: RecordStore, spec: ProtocolSpec, name: str, run: str | None) -> Row:
    asked = settle(with_whole_ids(records, spec.dynamics(name, run)))
    open_dynamics(records, asked, "running")
    brief = run_state_point(records, asked.identifier, *asked.spec.state_points[0])
    conclude(records, asked.identifier)
    document = records.get("trajectories", brief["_id"])
    assert document is not None, "it has just been run"
    return {
        "dynamics": asked.identifier,
        "trajectory": document["_id"],
        **{field: document[field] for field in _OF_THE_RUN},
    }


def _not_run(before: Mapping[str, Any]) -> Row:
    """Why a stage cannot be run: the first stage on the way to it that has not finished."""
    detail = before["failure_detail"]
    if before["status"] != "not run":
        detail = f"{before['name']} {before['status']}: {detail or 'it has no run'}"
    return {"status": "not run", "failure": "earlier_stage", "failure_detail": detail}


def _row(spec: ProtocolSpec, name: str, **facts: Any) -> Row:
    stage = spec.stage(name)
    return protocols.stage_row(
        name=name,
        after=spec.before(name),
        ensemble=stage.ensemble,
        target_temperature=stage.temperature,
        final_temperature=stage.final_temperature,
        target_pressure=stage.pressure if stage.ensemble == "npt" else None,
        **facts,
    )
