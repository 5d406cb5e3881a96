"""The figure of assessments."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.text import Text

from crysearch.errors import AnalysisError
from crysearch.plotting import plot_assessments


def quantities(shift: float, power: float = 1.0) -> dict:
    states, phases = [], []
    for k, (volume, energy) in enumerate([(20.0, 0.0), (20.1, 0.01 + shift), (15.0, 0.2 + shift)]):
        volumes = volume * np.linspace(0.94, 1.06, 7)
        states.append(
            {
                "name": f"p{k}",
                "label": f"phase {k}",
                "reason": None,
                "volumes": volumes.tolist(),
                "energies": (energy - 5 + 0.01 * (volumes - volume) ** 2).tolist(),
                "equilibrium_volume": volume,
                "equilibrium_energy": energy - 5,
                "bulk_modulus": 60.0,
                "bulk_modulus_derivative": 4.0,
            }
        )
        phases.append({"name": f"p{k}", "label": f"phase {k}", "energy": energy - 5,
                       "volume": volume})  # fmt: skip
    points = [{"atoms": n, "cpu_seconds": 1e-5 * n**power} for n in (100, 1000, 10_000)]
    cost = {"points": points, "slope": power, "slope_error": 0.01, "stopped": None}
    return {"equation_of_state": states, "phases": phases, "cost": cost}


def texts(figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text)).replace("\n", " ")


def test_a_model_beside_its_reference(tmp_path):
    path = tmp_path / "assessment.png"
    both = {"reference": quantities(0), "model": quantities(0.03, 1.2)}
    figure = plot_assessments(both, "reference", path)
    assert path.stat().st_size > 10_000
    first, second, energies, volumes, cost = figure.axes
    # Each phase is a curve and points; beside the model, the reference's curves too.
    assert (len(first.lines), len(second.lines)) == (6, 9)
    assert (first.get_title(), second.get_title()) == ("reference", "model")
    # Energies are above each engine's first minimum.
    assert first.lines[1].get_ydata().min() == pytest.approx(0, abs=1e-9)
    [parity] = [line for line in energies.lines if line.get_label() == "model"]
    assert parity.get_xdata() == pytest.approx([0, 0.01, 0.2])
    assert parity.get_ydata() == pytest.approx([0, 0.04, 0.23])
    assert volumes.get_xlabel() == "Volume (Å³/atom) by reference"
    assert cost.get_xscale() == cost.get_yscale() == "log"
    said = texts(figure)
    for words in ("model: 1.20 ± 0.01", "phase 2", "Dashed: the reference"):
        assert words in said
    # The line of the fit goes through points that are an exact power.
    fit = cost.lines[2]
    assert fit.get_ydata() == pytest.approx(1e-5 * np.array(fit.get_xdata()) ** 1.2)


def test_an_engine_alone_and_with_parts_only():
    assert len(plot_assessments({"model": quantities(0)}).axes) == 2
    only_cost = {"model": {"cost": quantities(0)["cost"]}}
    assert len(plot_assessments(only_cost).axes) == 1
    failed = quantities(0)
    failed["equation_of_state"][1] |= {"reason": "no minimum"}
    assert len(plot_assessments({"model": failed}).axes[0].lines) == 4
    # What only the second engine has is in the legend all the same.
    assert "phase 1" in texts(plot_assessments({"first": failed, "second": quantities(0)}))
    lost = {"reference": quantities(0), "model": quantities(0)}
    lost["model"]["phases"][0]["energy"] = None
    energies = plot_assessments(lost, "reference").axes[2]
    assert not [x for line in energies.lines for x in line.get_xdata()]


@pytest.mark.parametrize(
    ("assessments", "reference", "said"),
    [
        ({}, None, "0 assessments"),
        ({str(k): {} for k in range(7)}, None, "7 assessments"),
        ({"model": {}}, None, "nothing to draw"),
        ({"model": {}}, "other", "not among model"),
    ],
)
def test_what_cannot_be_drawn_is_said(assessments, reference, said):
    with pytest.raises(AnalysisError, match=said):
        plot_assessments(assessments, reference)
