"""Whether DeePMD-kit is here, and what it says itself, for the tests of the Deep Potential.

Run as a script by the Python that has the kit, with a folder that holds an exported potential and
``request.json``, it prints as JSON what the kit's own calculator, loss and schedule give.
"""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from crysearch.errors import TrainingError
from crysearch.potentials import deepmd_process, deepmd_worker


@cache
def _unavailable() -> str:
    try:
        deepmd_process.deepmd_versions()
    except TrainingError as error:
        return str(error)
    return ""


def require() -> None:
    """Skip without DeePMD-kit, with a warning that nobody overlooks."""
    if reason := _unavailable():
        warnings.warn(f"NOT TESTED: {reason}", stacklevel=1)
        pytest.skip(reason)


def reference(folder: Path) -> dict:
    """What the kit says, from a process of its own."""
    command = [deepmd_process.deepmd_python(), __file__, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def _calculator(folder: Path, crystals: list[dict], elements: list[str]) -> list[dict]:
    from ase import Atoms
    from deepmd.calculator import DP

    found = []
    calculator = DP(model=folder / "model-0.pth", type_dict={s: k for k, s in enumerate(elements)})
    for crystal in crystals:
        atoms = Atoms(pbc=True, calculator=calculator, **crystal)
        found.append(
            {
                "energy": float(atoms.get_potential_energy()),
                "forces": atoms.get_forces().tolist(),
                "stress": atoms.get_stress(voigt=False).tolist(),
            }
        )
    return found


def _loss(folder: Path, request: dict) -> list[float]:
    """The loss of the kit and ours of two crystals of three atoms, at a learning rate."""
    import torch
    from deepmd.pt.loss.ener import EnergyStdLoss

    model = torch.jit.load(folder / "model-0.pth")
    arrays = deepmd_worker.decode(request["data"])
    rows = np.flatnonzero(np.diff(arrays["starts"]) == 3)[:2]
    given = [deepmd_worker.crystals(arrays)[row] for row in rows]
    labels = deepmd_worker.Labels(arrays, deepmd_worker.crystals(arrays))
    ours = deepmd_worker.Loss(request)
    batch = deepmd_worker.Batch(given)
    errors = labels.errors(model, batch, rows)
    mine = ours.trained(errors, batch.counts, request["rate"]).mean()
    starts = {f"start_pref_{key[0]}": pair[0] for key, pair in request["schedule"].items()}
    limits = {f"limit_pref_{key[0]}": pair[1] for key, pair in request["schedule"].items()}
    theirs = EnergyStdLoss(request["learning_rate"], **starts, **limits)
    inputs = {
        "coord": torch.tensor(np.array([crystal.positions for crystal in given])),
        "atype": torch.tensor(np.array([crystal.species for crystal in given])),
        "box": torch.tensor(arrays["cells"][rows].reshape(-1, 9)),
    }
    label = {
        "energy": torch.tensor(labels.energies[rows][:, None]),
        "force": torch.tensor(np.array([labels.forces[row] for row in rows])),
        "virial": torch.tensor(labels.virials[rows].reshape(-1, 9)),
        **dict.fromkeys(("find_energy", "find_force", "find_virial"), 1.0),
    }
    _, loss, _ = theirs(inputs, model, label, 3, request["rate"])
    return [float(mine), float(loss)]


def _checked_input(request: dict) -> bool:
    """Whether ``dp train`` would take the definition of the model and the schedule."""
    from deepmd.utils.argcheck import normalize

    schedule = request["schedule"].items()
    starts = {f"start_pref_{key[0]}": pair[0] for key, pair in schedule}
    limits = {f"limit_pref_{key[0]}": pair[1] for key, pair in schedule}
    normalize(
        {
            "model": request["model"],
            "loss": {"type": "ener", **starts, **limits},
            "learning_rate": {"type": "exp", "start_lr": 1e-3, "stop_lr": 1e-5},
            "training": {"training_data": {"systems": "none"}, "numb_steps": 10},
        }
    )
    return True


def main() -> None:
    """Print what the kit says."""
    deepmd_worker.prepare_deepmd()
    folder = Path(sys.argv[1])
    request = json.loads((folder / "request.json").read_text())
    from deepmd.pt.model.model import get_model

    model = get_model(json.loads(json.dumps(request["model"])))
    rates = [deepmd_worker.Loss(request).rate(step, 5) for step in (0, 50, 100)]
    result = {
        "crystals": _calculator(folder, request["crystals"], request["model"]["type_map"]),
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "loss": _loss(folder, request),
        "rates": rates,
        "taken": _checked_input(request),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
