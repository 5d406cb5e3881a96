"""Runs under the Python that has DeePMD-kit; `crysearch.potentials.deepmd_process` talks with it.

One request per line on standard input, and lines of replies on standard output, all JSON; it ends
when standard input does. Arrays travel as npz archives in base64. Nothing of crysearch is imported:
that Python may be without it. Descriptors, networks, statistics, the schedule of the learning rate
and the stored form of a model are DeePMD-kit's; the loop of epochs is here, since the kit's own
cannot be interrupted and go on to bitwise the same weights. Units: Å, eV, eV/Å; virials are
DeePMD-kit's, minus the derivative of the energy by strain.
"""

from __future__ import annotations

import base64
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Arrays = dict[str, Any]

#: In the order of the lines of ``curves``.
CURVES = ("train_loss", "validation_loss", "validation_energy_error", "validation_force_error")
# Neighbour slots (atoms times neighbours) that are evaluated at once.
_SLOTS = 10_000


def encode(arrays: Arrays) -> str:
    """Arrays as text."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def decode(text: str) -> Arrays:
    """Arrays from text."""
    with np.load(io.BytesIO(base64.b64decode(text)), allow_pickle=False) as members:
        return {key: members[key] for key in members.files}


def prepare_deepmd() -> None:
    """Use DeePMD-kit's PyTorch backend without its compiled operations, with one thread.

    These are built for one version of PyTorch and do not load with another; the descriptors used
    here need none. `deepmd.env` is read when `deepmd.pt` is imported for the first time.
    """
    import deepmd.env

    deepmd.env.SHARED_LIB_DIR = Path(os.devnull)
    deepmd.env.GLOBAL_CONFIG["cibuildwheel"] = "0"  # asks for an MPI library otherwise
    import torch

    torch.set_num_threads(1)


class Crystal(NamedTuple):
    """One crystal, or the n atoms from ``first`` on of one with ``total``, and their m pairs."""

    species: Any  # (n,)
    positions: Any  # (n, 3)
    #: Neighbours of each atom, padded with -1 (n, most): numbers of pairs.
    pairs: Any
    others: Any  # (m,): the neighbour of each pair, in the whole crystal
    ghosts: Any  # (m,): its species
    vectors: Any  # (m, 3): from an atom to its neighbour
    first: int
    total: int


def crystals(arrays: Arrays) -> list[Crystal]:
    """The crystals of a request.

    ``starts`` (S + 1,), ``species`` (A,) and ``positions`` (A, 3) of their atoms; ``pair_starts``
    (S + 1,), ``first``, ``second`` (P,) and ``vectors`` (P, 3) of their pairs, sorted by ``first``.
    """
    starts, pair_starts = arrays["starts"], arrays["pair_starts"]
    found = []
    for number in range(len(starts) - 1):
        atoms = slice(starts[number], starts[number + 1])
        part = slice(pair_starts[number], pair_starts[number + 1])
        first = arrays["first"][part] - atoms.start
        counts = np.bincount(first, minlength=atoms.stop - atoms.start)
        ranks = np.arange(len(first)) - (np.cumsum(counts) - counts)[first]
        pairs = np.full((len(counts), max(1, int(counts.max()))), -1)
        pairs[first, ranks] = np.arange(len(first))
        species, others = arrays["species"][atoms], arrays["second"][part] - atoms.start
        found.append(
            Crystal(
                species,
                arrays["positions"][atoms],
                pairs,
                others,
                species[others],
                arrays["vectors"][part],
                0,
                len(species),
            )
        )
    return found


def pieces(crystal: Crystal, slots: int = _SLOTS) -> list[Crystal]:
    """Cut a crystal so that the memory is bounded: an atom's energy needs only its neighbours."""
    count = max(1, slots // crystal.pairs.shape[1])
    if count >= crystal.total:
        return [crystal]
    ends = np.cumsum((crystal.pairs >= 0).sum(axis=1))
    found = []
    for start in range(0, crystal.total, count):
        rows = slice(start, start + count)
        begin = ends[start - 1] if start else 0
        pairs = crystal.pairs[rows]
        part = slice(begin, begin + int((pairs >= 0).sum()))
        found.append(
            Crystal(
                crystal.species[rows],
                crystal.positions[rows],
                np.where(pairs >= 0, pairs - begin, -1),
                crystal.others[part],
                crystal.ghosts[part],
                crystal.vectors[part],
                start,
                crystal.total,
            )
        )
    return found


class Batch:
    """Several crystals, padded with virtual atoms (species -1) to the size of the largest.

    Each neighbour is a ghost of its own, the image of the atom that ``mapping`` says.
    """

    def __init__(self, given: Sequence[Crystal]) -> None:
        import torch

        atoms = max(len(crystal.species) for crystal in given)
        every = atoms + max(len(crystal.others) for crystal in given)
        width = max(crystal.pairs.shape[1] for crystal in given)
        coordinates = np.zeros((len(given), every, 3))
        species = np.full((len(given), every), -1)
        mapping = np.zeros((len(given), every), np.int64)
        neighbours = np.full((len(given), atoms, width), -1)
        for row, crystal in enumerate(given):
            n, m = len(crystal.species), len(crystal.others)
            owners = np.repeat(np.arange(n), (crystal.pairs >= 0).sum(axis=1))
            coordinates[row, :n] = crystal.positions
            coordinates[row, atoms : atoms + m] = crystal.positions[owners] + crystal.vectors
            species[row, :n] = crystal.species
            species[row, atoms : atoms + m] = crystal.ghosts
            mapping[row, :n] = crystal.first + np.arange(n)
            mapping[row, atoms : atoms + m] = crystal.others
            known = crystal.pairs >= 0
            neighbours[row, :n, : known.shape[1]] = np.where(known, crystal.pairs + atoms, -1)
        self.atoms = atoms
        self.total = max(crystal.total for crystal in given)
        self.coordinates = torch.from_numpy(coordinates)
        self.species = torch.from_numpy(species)
        self.mapping = torch.from_numpy(mapping)
        self.neighbours = torch.from_numpy(neighbours)
        self.counts = torch.tensor([float(len(crystal.species)) for crystal in given]).double()

    def evaluate(self, model: Any) -> tuple[Any, Any, Any, Any]:
        """Energies (S,), forces (S, N, 3), virials (S, 3, 3) and energies of atoms (S, n).

        Of a part of a crystal, what its n atoms contribute to the forces on all N.
        """
        import torch

        found = model.forward_lower(
            self.coordinates, self.species, self.neighbours, mapping=self.mapping
        )
        forces = torch.zeros((len(self.counts), self.total, 3), dtype=torch.float64)
        places = self.mapping[:, :, None].expand(-1, -1, 3)
        forces = forces.scatter_add(1, places, found["extended_force"])
        energies = found["energy"].reshape(-1)
        return (
            energies,
            forces,
            found["virial"].reshape(-1, 3, 3),
            found["atom_energy"].squeeze(-1),
        )

    def features(self, model: Any) -> Any:
        """The last hidden layer of the energy networks, summed over the atoms (S, D)."""
        import torch

        with torch.no_grad():
            listed = model.format_nlist(self.coordinates, self.species, self.neighbours)
            found = model.atomic_model.forward_embedding(
                self.coordinates, self.species, listed, mapping=self.mapping
            )
        return found["structural_feature"]


def runs(given: Sequence[Crystal], slots: int = _SLOTS) -> Iterator[slice]:
    """Cut crystals into runs of at most so many slots when padded, or of one crystal."""
    start, atoms, width = 0, 0, 0
    for place, crystal in enumerate(given):
        n, m = max(atoms, len(crystal.species)), max(width, crystal.pairs.shape[1])
        if place > start and (place + 1 - start) * n * m > slots:
            yield slice(start, place)
            start, n, m = place, len(crystal.species), crystal.pairs.shape[1]
        atoms, width = n, m
    if start < len(given):
        yield slice(start, len(given))


class Labels:
    """What a model is to give; 0 where it is not known."""

    def __init__(self, arrays: Arrays, given: Sequence[Crystal]) -> None:
        self.energies, self.importance = arrays["energies"], arrays["importance"]
        self.virials = arrays["virials"]
        self.has_forces, self.has_virials = arrays["has_forces"], arrays["has_virials"]
        ends = np.cumsum([len(crystal.species) for crystal in given])
        self.forces = np.split(arrays["forces"], ends[:-1])

    def errors(self, model: Any, batch: Batch, rows: Any) -> Any:
        """Squared errors (3, S): of the energy, ‖ΔF‖²/3n and ‖ΔΞ‖²/9; 0 where unknown."""
        import torch

        energies, forces, virials, _ = batch.evaluate(model)
        wanted = np.zeros(forces.shape)
        for place, row in enumerate(rows):
            wanted[place, : len(self.forces[row])] = self.forces[row]
        # Virtual atoms feel no force.
        force = (forces - torch.from_numpy(wanted)).square().sum(dim=(1, 2)) / (3.0 * batch.counts)
        virial = (virials - torch.from_numpy(self.virials[rows])).square().mean(dim=(1, 2))
        return torch.stack(
            [
                (energies - torch.from_numpy(self.energies[rows])).square(),
                force * torch.from_numpy(self.has_forces[rows]),
                virial * torch.from_numpy(self.has_virials[rows]),
            ]
        )


def prefactors(schedule: dict[str, Any], rate: float) -> list[float]:
    """Prefactors of energy, force and virial; ``rate`` is the learning rate over the first one."""
    return [
        limit + (start - limit) * rate
        for start, limit in (schedule[name] for name in ("energy", "force", "virial"))
    ]


class Member:
    """One potential in training."""

    def __init__(self, request: dict[str, Any], number: int, rows: Sequence[Any]) -> None:
        import torch
        from deepmd.pt.model.model import get_model

        self.train_rows, self.validation_rows = rows
        self.number, self.seed, self.batch_size = number, request["seed"], request["batch_size"]
        self.steps = -(-len(self.train_rows) // self.batch_size)
        seed = int(np.random.default_rng([self.seed, 1, number]).integers(2**31))
        definition = json.loads(json.dumps(request["model"]))
        for part in ("descriptor", "fitting_net"):
            definition[part]["seed"] = seed
        self.definition = definition
        self.model = get_model(json.loads(json.dumps(definition)))
        # Some are empty, for tables that are not used here.
        self.parameters = [p for p in self.model.parameters() if p.requires_grad and p.numel()]
        self.adam = torch.optim.Adam(self.parameters, lr=request["learning_rate"])

    def learn_statistics(self, request: dict[str, Any], arrays: Arrays) -> None:
        """DeePMD's means and widths of the descriptor, and energies of the elements."""
        import torch

        starts, kinds = arrays["starts"], len(request["model"]["type_map"])
        samples = []
        for row in self.train_rows:
            atoms = slice(starts[row], starts[row + 1])
            species = arrays["species"][atoms]
            n = len(species)
            counts = [n, n, *np.bincount(species, minlength=kinds).tolist()]
            samples.append(
                {
                    "coord": torch.from_numpy(arrays["positions"][atoms].reshape(1, n, 3)),
                    "atype": torch.from_numpy(species.reshape(1, n)),
                    "box": torch.from_numpy(arrays["cells"][row].reshape(1, 9)),
                    "natoms": torch.tensor([counts]),
                    "energy": torch.from_numpy(arrays["energies"][row].reshape(1, 1)),
                    "find_energy": 1.0,
                }
            )
        self.model.atomic_model.compute_or_load_stat(lambda: samples)
        # The PyTorch backend does not scale energies, but TensorFlow's does after a conversion.
        self.model.atomic_model.out_std.fill_(1.0)

    def epoch(self, number: int, given: list[Crystal], labels: Labels, loss: Loss) -> float:
        """Go through what it learns from; the weighted loss, taken while the weights change."""
        import torch

        self.model.train()
        order = np.random.default_rng([self.seed, 2, self.number, number]).permutation(
            self.train_rows
        )
        usual, total = labels.importance[self.train_rows].mean(), 0.0
        for step in range(self.steps):
            rows = order[step * self.batch_size : (step + 1) * self.batch_size]
            rate = loss.rate(number * self.steps + step, self.steps)
            self.adam.param_groups[0]["lr"] = rate
            self.adam.zero_grad()
            share = torch.from_numpy(labels.importance[rows] / usual)
            batch = Batch([given[row] for row in rows])
            errors = labels.errors(self.model, batch, rows)
            objective = (loss.trained(errors, batch.counts, rate) * share).mean()
            objective.backward()
            self.adam.step()
            value = (loss.weighted(errors.detach(), batch.counts) * share).sum()
            total += float(value)
        return total / len(order)

    def validate(self, given: list[Crystal], labels: Labels, loss: Loss) -> list[float]:
        """Weighted loss, and roots of the mean squared errors of energy per atom and forces."""
        self.model.eval()
        rows = self.validation_rows
        chosen = [given[row] for row in rows]
        sums = np.zeros(5)
        for part in runs(chosen):
            batch, of = Batch(chosen[part]), rows[part]
            errors = labels.errors(self.model, batch, of).detach()
            share = labels.importance[of]
            known = share * labels.has_forces[of]
            per_atom = errors[0] / batch.counts**2
            weighted = loss.weighted(errors, batch.counts).numpy()
            for place, values in enumerate(
                (
                    weighted * share,
                    per_atom.numpy() * share,
                    errors[1].numpy() * known,
                    share,
                    known,
                )
            ):
                sums[place] += values.sum()
        force = sums[2] / sums[4] if sums[4] else 0.0
        return [sums[0] / sums[3], float(np.sqrt(sums[1] / sums[3])), float(np.sqrt(force))]

    def weights(self) -> Any:
        """All weights and biases in a row."""
        return np.concatenate([p.detach().numpy().ravel() for p in self.parameters])

    def set_weights(self, values: Any) -> None:
        """Put weights in."""
        import torch

        start = 0
        with torch.no_grad():
            for p in self.parameters:
                part = values[start : start + p.numel()]
                p.copy_(torch.from_numpy(np.ascontiguousarray(part)).view_as(p))
                start += p.numel()

    def state(self) -> list[Any]:
        """Weights and Adam's moments."""
        kept = [self.weights()]
        for name in ("exp_avg", "exp_avg_sq"):
            kept.append(
                np.concatenate([self.adam.state[p][name].numpy().ravel() for p in self.parameters])
            )
        return kept

    def restore(self, state: Any, epoch: int) -> None:
        """Go on from what `state` gave after so many epochs."""
        import torch

        self.set_weights(state[0])
        start = 0
        for p in self.parameters:
            part = slice(start, start + p.numel())
            self.adam.state[p] = {
                "step": torch.tensor(float(epoch * self.steps)),
                "exp_avg": torch.from_numpy(state[1][part].copy()).view_as(p),
                "exp_avg_sq": torch.from_numpy(state[2][part].copy()).view_as(p),
            }
            start += p.numel()


class Loss:
    """The loss that is trained, by prefactors that follow the learning rate, and the measured."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._weights, self._schedule = request["weights"], request["schedule"]
        self._start, self._final = request["learning_rate"], request["final_rate"]
        self._epochs = request["epochs"]

    def rate(self, step: int, steps: int) -> float:
        """Learning rate at a step, with so many steps in an epoch."""
        from deepmd.dpmodel.utils.learning_rate import LearningRateExp

        schedule = LearningRateExp(
            start_lr=self._start,
            stop_lr=self._start * self._final,
            num_steps=self._epochs * steps,
            decay_steps=steps,
            smooth=True,
        )
        return float(schedule.value(step))

    def trained(self, errors: Any, counts: Any, rate: float) -> Any:
        """p_e ΔE²/n + p_f ‖ΔF‖²/3n + p_ξ ‖ΔΞ‖²/9n of each crystal (S,)."""
        energy, force, virial = prefactors(self._schedule, rate / self._start)
        return (energy * errors[0] + virial * errors[2]) / counts + force * errors[1]

    def weighted(self, errors: Any, counts: Any) -> Any:
        """The loss of `LossWeights`, (S,)."""
        energy, force, virial = (self._weights[name] for name in ("energy", "force", "stress"))
        return (energy * errors[0] + virial * errors[2]) / counts**2 + force * errors[1]


def flatten(part: Any, arrays: Arrays) -> Any:
    """A model as DeePMD-kit serialises it, as plain data with its arrays taken out."""
    if isinstance(part, dict):
        return {key: flatten(value, arrays) for key, value in part.items()}
    if isinstance(part, (list, tuple)):
        return [flatten(value, arrays) for value in part]
    if isinstance(part, np.ndarray):
        key = f"array{len(arrays)}"
        arrays[key] = part
        return {"@array": key}
    return part.item() if isinstance(part, np.generic) else part


def unflatten(part: Any, arrays: Arrays) -> Any:
    """The reverse of `flatten`."""
    if isinstance(part, dict):
        if set(part) == {"@array"}:
            return arrays[part["@array"]]
        return {key: unflatten(value, arrays) for key, value in part.items()}
    return [unflatten(value, arrays) for value in part] if isinstance(part, list) else part


class Worker:
    """Answers requests; keeps the models of the last potential that was evaluated."""

    def __init__(self, replies: Any) -> None:
        self._replies = replies
        self._token = ""
        self._models: list[Any] = []

    def tell(self, reply: dict[str, Any]) -> None:
        """Write one line."""
        self._replies.write(json.dumps(reply) + "\n")
        self._replies.flush()

    def version(self, request: dict[str, Any]) -> dict[str, Any]:
        """What is installed here."""
        import deepmd.pt
        import torch

        return {
            "deepmd-kit": deepmd.__version__,
            "torch": torch.__version__,
            "python": sys.version.split()[0],
        }

    def fit(self, request: dict[str, Any]) -> dict[str, Any]:
        """Train all members; see `crysearch.potentials.deep_potential` for the request."""
        arrays = decode(request["data"])
        learned, checked = (
            {key.partition(".")[2]: value for key, value in arrays.items() if key.startswith(part)}
            for part in ("training.", "validation.")
        )
        given, others = crystals(learned), crystals(checked)
        labels, other_labels = Labels(learned, given), Labels(checked, others)
        loss, count = Loss(request), request["members"]
        members = []
        for k in range(count):
            rows = arrays[f"rows.train.{k}"], arrays[f"rows.validation.{k}"]
            member = Member(request, k, rows)
            member.learn_statistics(request, learned)
            members.append(member)
        curves, best = np.empty((4, count, 0)), np.zeros(count, np.int64)
        kept = np.array([member.weights() for member in members])
        if request.get("resume"):
            before = decode(request["resume"])
            curves, best, kept = before["curves"], before["best_epoch"], before["best"]
            for k, member in enumerate(members):
                member.restore(before["state"][k], curves.shape[2])
        while curves.shape[2] < request["epochs"]:
            epoch = curves.shape[2]
            if epoch and epoch - 1 - best.max() >= request["patience"]:
                break
            curve = np.empty((4, count))
            for k, member in enumerate(members):
                curve[0, k] = member.epoch(epoch, given, labels, loss)
                curve[1:, k] = member.validate(others, other_labels, loss)
            if not np.isfinite(curve).all():
                return {
                    "not_finite": {"epoch": epoch, "losses": [str(v) for v in curve[:2].max(1)]}
                }
            better = curve[1] < curves[1].min(axis=1, initial=np.inf)
            best[better] = epoch
            for k in np.flatnonzero(better).tolist():
                kept[k] = members[k].weights()
            curves = np.concatenate([curves, curve[:, :, None]], axis=2)
            self.tell({"epochs": 1})
            if request["checkpoints"] and (epoch + 1) % request["checkpoint_every"] == 0:
                state = [member.state() for member in members]
                self.tell(
                    {
                        "checkpoint": encode(
                            {
                                "curves": curves,
                                "best_epoch": best,
                                "best": kept,
                                "state": np.array(state),
                            }
                        )
                    }
                )
        found: Arrays = {}
        models = []
        for k, member in enumerate(members):
            member.set_weights(kept[k])
            models.append(flatten(member.model.serialize(), found))
        return {
            "models": models,
            "arrays": encode(found),
            "history": encode({**dict(zip(CURVES, curves, strict=True)), "best_epoch": best}),
        }

    def load(self, request: dict[str, Any]) -> None:
        """Take the models of the request, if they are not here."""
        from deepmd.pt.model.model.model import BaseModel

        if request["token"] != self._token:
            if "models" not in request:
                raise LookupError("the models are not here")
            arrays = decode(request["arrays"])
            self._models = [
                BaseModel.deserialize(unflatten(model, arrays)) for model in request["models"]
            ]
            for model in self._models:
                model.eval()
            self._token = request["token"]

    def evaluate(self, request: dict[str, Any]) -> dict[str, Any]:
        """Energies of atoms (K, A), forces (K, A, 3), virials (K, S, 3, 3), features (S, K D)."""
        self.load(request)
        given = crystals(decode(request["data"]))
        collected: dict[str, list[Any]] = {key: [] for key in ("atomic", "forces", "virials")}
        features = []
        for part in runs(given):
            group = given[part]
            batches = [group] if len(group) > 1 else [[piece] for piece in pieces(group[0])]
            outputs = [self._outputs(Batch(batch)) for batch in batches]
            atomic = np.concatenate([one[0] for one in outputs], axis=2)
            forces, virials, sums = (sum(one[k] for one in outputs) for k in (1, 2, 3))
            real = np.arange(atomic.shape[2]) < np.array([one.total for one in group])[:, None]
            collected["atomic"].append(atomic[:, real])
            collected["forces"].append(forces[:, real])
            collected["virials"].append(virials)
            features.append(sums)
        found = {key: np.concatenate(values, axis=1) for key, values in collected.items()}
        return {"data": encode({**found, "features": np.concatenate(features)})}

    def _outputs(self, batch: Batch) -> tuple[Any, Any, Any, Any]:
        """Energies of atoms (K, S, n), forces (K, S, N, 3), virials (K, S, 3, 3), features."""
        found = []
        for model in self._models:
            _, forces, virials, atomic = batch.evaluate(model)
            found.append([array.detach().numpy() for array in (atomic, forces, virials)])
        features = np.concatenate([batch.features(m).numpy() for m in self._models], axis=1)
        atomic, forces, virials = (np.array(one) for one in zip(*found, strict=True))
        return atomic, forces, virials, features

    def freeze(self, request: dict[str, Any]) -> dict[str, Any]:
        """Write the members as DeePMD-kit's own files; see `DeepPotential.export`."""
        import torch
        from deepmd.dpmodel.utils.serialization import save_dp_model

        self.load(request)
        names = []
        for k, model in enumerate(self._models):
            path = Path(request["folder"]) / f"{request['stem']}-{k}"
            definition = json.dumps(request["definition"])
            model.model_def_script = definition
            torch.jit.save(torch.jit.script(model), f"{path}.pth", {"data_modifier.pth": ""})
            save_dp_model(
                f"{path}.dp",
                {
                    "backend": "PyTorch",
                    "pt_version": torch.__version__,
                    "model": model.serialize(),
                    "model_def_script": request["definition"],
                    "@variables": {},
                },
            )
            names.append(path.name)
        return {"names": names}


def main() -> None:
    """Answer requests until there are no more."""
    # Whatever libraries print goes to standard error: standard output belongs to the replies.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker(replies)
    tasks = {
        "version": worker.version,
        "fit": worker.fit,
        "evaluate": worker.evaluate,
        "freeze": worker.freeze,
    }
    try:
        prepare_deepmd()
        problem = ""
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if problem:
                raise ImportError(problem)
            reply: dict[str, Any] = {"result": tasks[request["task"]](request)}
        except Exception as error:
            text = " ".join(str(error).split())
            reply = {"error": f"{type(error).__name__}: {text}"}
        worker.tell(reply)


if __name__ == "__main__":
    # Another Python may be older: the first folder, that of this file, holds modules for ours.
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path = [path for path in sys.path if os.path.abspath(path or ".") != here]
    main()
