"""Runs under the Python that has GPAW, and talks with :mod:`crysearch.relaxation.gpaw`.

One request per line on standard input, one reply per line on standard output, both JSON; it ends
when standard input does. Nothing of crysearch is imported: that Python may be older and without it.
Units: Å and eV; stress in eV/Å³, positive when the cell wants to shrink.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

# A script's folder is searched first, and this one has a module named gpaw.
_HERE = os.path.dirname(os.path.abspath(__file__))
sys.path = [path for path in sys.path if os.path.abspath(path or ".") != _HERE]


def calculator(request: dict[str, Any], atoms: Any) -> Any:
    """A new calculator, so that a result depends on nothing but its structure."""
    from gpaw import GPAW, PW

    return GPAW(
        mode=PW(request["plane_wave_cutoff"]),
        xc=request["functional"],
        kpts={"size": request["mesh"], "gamma": True},
        # Of order 0, this is Gaussian smearing.
        occupations={
            "name": "methfessel-paxton",
            "order": 0,
            "width": request["smearing_width"],
        },
        convergence={
            "energy": request["scf_threshold"],
            "density": request["density_threshold"],
            "eigenstates": request["eigenstate_threshold"],
        },
        maxiter=request["max_scf_steps"],
        txt=None,
    )


def structure(request: dict[str, Any]) -> Any:
    """The atoms of a request."""
    from ase import Atoms

    return Atoms(
        numbers=request["numbers"], cell=request["cell"], positions=request["positions"], pbc=True
    )


def version(request: dict[str, Any]) -> dict[str, Any]:
    """What is installed here."""
    import ase
    import gpaw
    from gpaw import setup_paths

    return {
        "gpaw": gpaw.__version__,
        "ase": ase.__version__,
        "python": sys.version.split()[0],
        "setups": list(setup_paths),
    }


def evaluate(request: dict[str, Any]) -> dict[str, Any]:
    """Free energy, forces and stress."""
    atoms = structure(request)
    atoms.calc = calculator(request, atoms)
    energy = float(atoms.get_potential_energy(force_consistent=True))
    return {
        "energy": energy,
        "forces": atoms.get_forces().tolist(),
        "stress": atoms.get_stress(voigt=False).tolist(),
        "setups": setups(atoms),
    }


def eigenvalues(request: dict[str, Any]) -> dict[str, Any]:
    """Eigenvalues at given k-points in the potential of a self-consistent calculation."""
    atoms = structure(request)
    ground_state = atoms.calc = calculator(request, atoms)
    atoms.get_potential_energy()
    electrons = float(ground_state.get_number_of_electrons())
    filled = int(-(-electrons // 2))
    wanted = filled + max(4, -(-filled // 5))
    bands = ground_state.fixed_density(
        kpts=request["points"],
        symmetry="off",
        nbands=wanted + 4,
        # The highest bands converge last and are not looked at.
        convergence={"bands": wanted},
        maxiter=max(request["max_scf_steps"], 300),
        txt=None,
    )
    values = [
        bands.get_eigenvalues(kpt=index)[:wanted].tolist()
        for index in range(len(bands.get_ibz_k_points()))
    ]
    return {
        "electrons": electrons,
        "fermi_energy": float(ground_state.get_fermi_level()),
        "eigenvalues": values,
        "setups": setups(atoms),
    }


def setup(request: dict[str, Any]) -> dict[str, Any]:
    """Whether there is a data set of an element; the error of GPAW says which is missing."""
    from gpaw.setup_data import SetupData

    return {"md5": str(SetupData(request["symbol"], request["functional"]).fingerprint)}


def setups(atoms: Any) -> dict[str, str]:
    """File checksum (MD5, as GPAW keeps it) of each element's data set."""
    return {setup.symbol: str(setup.fingerprint) for setup in atoms.calc.setups}


def main() -> None:
    """Answer requests until there are no more."""
    # Whatever libraries print goes to standard error: standard output belongs to the replies.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    tasks = {
        "version": version,
        "setup": setup,
        "evaluate": evaluate,
        "eigenvalues": eigenvalues,
    }
    for line in sys.stdin:
        request = json.loads(line)
        reply: dict[str, Any]
        try:
            reply = {"result": tasks[request["task"]](request)}
        except Exception as error:
            text = " ".join(str(error).split())
            reply = {"error": f"{type(error).__name__}: {text}"}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
