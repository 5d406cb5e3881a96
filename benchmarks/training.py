"""Training of the autoencoders beside pythae's, one model at a time and ten at once.

    pip install --no-deps pythae imageio cloudpickle
    python benchmarks/training.py

pythae 0.1.2 (Chadebec et al., NeurIPS 2022) has both models. Here its encoders and decoders have
the published layers, 200-50-25-12-2, in double precision on one thread; the batch is the 26
training structures of the bundled silicon snapshot; the optimiser is Adam; K = 3. What is measured
is the time of one training step of one model, without validation on pythae's side. Its Hamiltonian
model is a peer for speed only: its drift takes the momentum from before the half kick.
"""

from __future__ import annotations

import argparse
import time
import warnings
from itertools import pairwise

import numpy as np
import torch

from crysearch.fingerprints import RadialDistributionFunction
from crysearch.generative.registry import model_class
from crysearch.references import check_references, load_snapshot

LAYERS = (200, 50, 25, 12)
LATENT = 2
ROWS = 26


def chain(sizes: tuple[int, ...], last: bool) -> torch.nn.Sequential:
    """Linear layers with ReLU between them, and after the last one if `last`."""
    layers: list[torch.nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    return torch.nn.Sequential(*(layers if last else layers[:-1]))


def pythae_seconds(name: str, data: torch.Tensor, steps: int) -> float:
    """Seconds of one training step of pythae's model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pythae.models import HVAE, VAE, HVAEConfig, VAEConfig
        from pythae.models.base.base_utils import ModelOutput
        from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = chain(LAYERS, last=True)
            self.mean = torch.nn.Linear(LAYERS[-1], LATENT)
            self.log_variance = torch.nn.Linear(LAYERS[-1], LATENT)

        def forward(self, x: torch.Tensor) -> ModelOutput:
            hidden = self.hidden(x)
            mean, log_variance = self.mean(hidden), self.log_variance(hidden)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = chain((LATENT, *LAYERS[::-1]), last=False)

        def forward(self, z: torch.Tensor) -> ModelOutput:
            outputs = self.layers(z)
            # Its Hamiltonian model takes logits, its plain one probabilities.
            return ModelOutput(reconstruction=outputs.sigmoid() if name == "vae" else outputs)

    common = {"input_dim": (LAYERS[0],), "latent_dim": LATENT, "reconstruction_loss": "bce"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name == "vae":
            model = VAE(VAEConfig(**common), Encoder(), Decoder())
        else:
            config = HVAEConfig(
                **common, n_lf=3, eps_lf=0.03, beta_zero=0.5,
                learn_eps_lf=True, learn_beta_zero=True,
            )  # fmt: skip
            model = HVAE(config, Encoder(), Decoder())
    model = model.double()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(steps + 10):
        if step == 10:
            start = time.perf_counter()
        optimizer.zero_grad()
        model({"data": data}).loss.backward()
        optimizer.step()
    return (time.perf_counter() - start) / steps


def our_seconds(name: str, known: np.ndarray, models: int, steps: int) -> float:
    """Seconds of one training step of one of our models, of `models` at once; with validation."""
    cls = model_class(name)
    cls.fit_ensemble({}, known, seeds=range(models), epochs=5)
    start = time.perf_counter()
    cls.fit_ensemble({}, known, seeds=range(models), epochs=steps)
    return (time.perf_counter() - start) / (steps * models)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3, help="the fastest counts")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    # pythae's likelihood of the Hamiltonian model refuses values that are not 0 or 1.
    torch.distributions.Distribution.set_default_validate_args(False)
    sound, _ = check_references(load_snapshot("Si"), {("Si", "Si"): 2.1}, formula="Si")
    known = RadialDistributionFunction().from_structures([item.structure for item in sound])
    data = torch.tensor(known[:ROWS] / known.max())
    print("| ms per model and step | pythae | one model | ten at once | ratio to pythae |")
    print("|---|---|---|---|---|")
    for name in ("vae", "hvae"):
        rounds = range(arguments.repeats)
        peer = min(pythae_seconds(name, data, arguments.steps) for _ in rounds)
        one = min(our_seconds(name, known, 1, arguments.steps) for _ in rounds)
        ten = min(our_seconds(name, known, 10, arguments.steps) for _ in rounds)
        times = " | ".join(f"{1e3 * seconds:.2f}" for seconds in (peer, one, ten))
        print(f"| {name} | {times} | {peer / one:.1f}, {peer / ten:.1f} |", flush=True)


if __name__ == "__main__":
    main()
