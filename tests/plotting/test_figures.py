from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from scipy.spatial.distance import pdist
from scipy.stats import special_ortho_group

from crysearch.analysis import DiffractionPattern, Peak
from crysearch.errors import AnalysisError
from crysearch.plotting import (
    Descent,
    RdfPair,
    plot_descent,
    plot_design_map,
    plot_distances,
    plot_energies,
    plot_latent_map,
    plot_loss_curves,
    plot_overview,
    plot_rdf_pair,
    plot_xray_pair,
)

RNG = np.random.default_rng(0)
SYMBOLS = ["Fd-3m", "P6_3/mmc", "Ia-3", "C2/m", "I4_1/amd", "P6/mmm"]


@pytest.fixture(scope="module")
def data():
    references = [
        {
            "reference_id": f"mp-{k}",
            "latent": RNG.normal(size=2).tolist(),
            "energy_above_ground_state": 0.05 * k,
            "space_group_symbol": SYMBOLS[k % 6],
        }
        for k in range(20)
    ]
    axis = np.linspace(-1.6, 1.6, 15)
    replicas = [
        {"latent": [x, y], "label": [i, j]} for i, x in enumerate(axis) for j, y in enumerate(axis)
    ]
    groups = [["I"], ["II"], ["I", "II"], ["III"]]
    relaxations = [
        {
            "_id": f"r{k}",
            "parent_kind": "reference",
            "groups": [],
            "duplicate_of": None,
            "energy_above_reference_ground_state": 0.04 * k,
        }
        for k in range(10)
    ] + [
        {
            "_id": f"c{k}",
            "parent_kind": "candidate",
            "groups": groups[k % 4],
            "duplicate_of": None,
            "energy_above_reference_ground_state": 0.01 * k,
            "distance_before": 0.05 + 0.01 * (k % 4) ** 3,
            "distance_after": 0.5 * RNG.random(),
        }
        for k in range(60)
    ]
    grid = np.linspace(0.02, 7.98, 200)
    first, second = np.exp(-((grid[None] - np.array([[2.35], [2.5]])) ** 2) / 0.02)
    epochs = np.arange(30)
    history = {
        f"{part}_{term}": (shift + 50 * np.exp(-epochs / 5)).tolist()
        for part, shift in (("train", 40.0), ("validation", 42.0))
        for term in ("reconstruction", "divergence")
    }
    peaks = tuple(Peak(t, i, ((1, 1, 1),), 3.0) for t, i in ((28.4, 100.0), (47.3, 60.0)))
    pattern = DiffractionPattern(peaks, 1.54184, (10.0, 90.0))
    shares = np.linspace(0.0, 1.0, 7)[:, None] ** 2
    way = shares * second + (1.0 - shares) * first
    return SimpleNamespace(
        descents=[Descent(second, way, f"line {k}/3\nSi16, $Pm$") for k in (1, 2, 3)],
        references=references,
        replicas=replicas,
        relaxations=relaxations,
        pair=RdfPair(grid, first, second, ("new", "diamond")),
        history=history,
        pattern=pattern,
    )


FIGURES = {
    "loss": lambda d, **k: plot_loss_curves({"history": d.history}, **k),
    "latent": lambda d, **k: plot_latent_map(d.references, d.replicas, **k),
    "energies": lambda d, **k: plot_energies(d.relaxations, **k),
    "distances": lambda d, **k: plot_distances(d.relaxations, threshold=0.13, **k),
    "distances-energy": lambda d, **k: plot_distances(d.relaxations, colour_by="energy", **k),
    "rdf": lambda d, **k: plot_rdf_pair(d.pair.grid, d.pair.first, d.pair.second, **k),
    "xray": lambda d, **k: plot_xray_pair(d.pattern, d.pattern, **k),
    "descent": lambda d, **k: plot_descent(d.pair.grid, d.descents[:1], threshold=0.13, **k),
    "descents": lambda d, **k: plot_descent(d.pair.grid, d.descents, threshold=0.13, **k),
    "design": lambda d, **k: plot_design_map(
        d.references,
        np.array([[0.0, 0.0], [1.0, 0.5]]),
        ["1", "2"],
        np.array([[0.1, -0.3], [0.8, 0.9], [1.2, 0.1]]),
        np.array([0, 1, 1]),
        np.array([0.02, 0.05, 0.2]),
        **k,
    ),
    "overview": lambda d, **k: plot_overview(
        d.references, d.replicas, d.relaxations, d.pair, threshold=0.13, **k
    ),
}


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


@pytest.mark.parametrize("name", FIGURES)
def test_files_and_global_state(name, data, tmp_path):
    before = dict(mpl.rcParams)
    figure = FIGURES[name](data, path=tmp_path / "new folder" / "figure.png")
    assert isinstance(figure, Figure)
    assert dict(mpl.rcParams) == before
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []
    with Image.open(tmp_path / "new folder" / "figure.png") as image:
        assert image.size == tuple(np.floor(figure.get_size_inches() * 200 + 1e-6).astype(int))
    # Whatever the caller's own style is, and however often: the same file.
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        FIGURES[name](data, path=tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == (
        tmp_path / "new folder" / "figure.png"
    ).read_bytes()


@pytest.mark.parametrize(
    ("suffix", "start"), [(".pdf", b"%PDF"), (".svg", b"<?xml"), (".PNG", b"\x89PNG")]
)
def test_formats(suffix, start, data, tmp_path):
    FIGURES["latent"](data, path=tmp_path / f"figure{suffix}")
    assert (tmp_path / f"figure{suffix}").read_bytes().startswith(start)


@pytest.mark.parametrize("name", FIGURES)
def test_unknown_format_is_refused_before_any_work(name, data, tmp_path):
    with pytest.raises(AnalysisError, match=r"\.png, \.pdf, \.svg"):
        FIGURES[name](data, path=tmp_path / "figure.gif")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_overlaps_or_is_cut(name, data):
    figure = FIGURES[name](data)
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    boxes = []
    for axes in figure.axes:
        boxes += [
            ("label", axis.label.get_window_extent(renderer))
            for axis in (axes.xaxis, axes.yaxis)
            if axis.label.get_text()
        ]
        boxes += [(text.get_text(), text.get_window_extent(renderer)) for text in axes.texts]
        boxes += [
            ("title", t.get_window_extent(renderer))
            for t in (axes.title, axes._left_title, axes._right_title)
            if t.get_text()
        ]
        if axes.get_legend() is not None:
            boxes.append(("legend", axes.get_legend().get_window_extent(renderer)))
    page = figure.bbox
    for index, (text, box) in enumerate(boxes):
        assert page.x0 <= box.x0 and box.x1 <= page.x1 + 1, text
        assert page.y0 <= box.y0 and box.y1 <= page.y1 + 1, text
        for other, other_box in boxes[:index]:
            assert not box.overlaps(other_box), (text, other)


def test_units_are_on_the_axes(data):
    assert "nats per structure" in texts(FIGURES["loss"](data))
    assert "eV/atom" in texts(FIGURES["latent"](data))
    assert "eV/atom" in texts(FIGURES["energies"](data))
    assert "(Å)" in texts(FIGURES["rdf"](data))
    assert "2θ (degrees)" in texts(FIGURES["xray"](data))


def test_loss_curves(data):
    history = {**data.history, "validation_divergence": [None] * 30}
    history["train_divergence"] = [1.0, None, *data.history["train_divergence"][2:]]
    figure = plot_loss_curves({"history": history})
    left, right = figure.axes
    assert [line.get_label() for line in left.lines] == ["train", "validation"]
    np.testing.assert_array_equal(left.lines[0].get_xdata(), np.arange(1, 31))
    np.testing.assert_allclose(left.lines[1].get_ydata(), data.history["validation_reconstruction"])
    assert [line.get_label() for line in right.lines] == ["train"]
    assert "No validation divergence was recorded" in texts(figure).replace("\n", " ")
    assert "1 values of the train divergence are missing" in texts(figure).replace("\n", " ")
    for empty in ({}, {"history": None}, {"history": {"train_divergence": []}}):
        with pytest.raises(AnalysisError, match="train a model first"):
            plot_loss_curves(empty)


@pytest.mark.parametrize(
    ("model", "likelihood", "labels"),
    [
        ("vae", None, ("Reconstruction loss", "Kullback–Leibler divergence")),
        ("vae", "bernoulli", ("Reconstruction loss", "Kullback–Leibler divergence")),
        ("vae", "gaussian", ("Negative log-likelihood", "Kullback–Leibler divergence")),
        ("hvae", "continuous-bernoulli", ("Negative log-likelihood", "Divergence")),
    ],
)
def test_the_terms_of_a_loss_are_named(data, model, likelihood, labels):
    document = {"history": data.history, "model": model, "likelihood": likelihood}
    axes = plot_loss_curves(document).axes
    assert [one.get_ylabel() for one in axes] == [
        f"{label}\n(nats per structure)" for label in labels
    ]


def test_a_loss_below_zero_is_drawn_without_its_high_beginning(data):
    curve = [3000.0, 2000.0, *np.linspace(50.0, -20.0, 38)]
    history = data.history | {"train_reconstruction": curve, "validation_reconstruction": curve}
    figure = plot_loss_curves({"history": history, "likelihood": "gaussian"})
    low, high = figure.axes[0].get_ylim()
    assert low < -20.0 and 50.0 < high < 100.0
    assert "begins at 3,000, above what is shown" in texts(figure).replace("\n", " ")
    history = data.history | {"train_reconstruction": curve[2:], "validation_reconstruction": []}
    assert "above what" not in texts(plot_loss_curves({"history": history}))


def test_latent_map(data):
    references = [
        *data.references,
        {"latent": [0.0, 0.0], "energy_above_ground_state": None, "space_group_symbol": "P1"},
        {"latent": None, "energy_above_ground_state": 0.1, "space_group_symbol": "P1"},
    ]
    figure = plot_latent_map(references, data.replicas)
    written = texts(figure)
    assert "known structure (20)" in written
    assert "known structure, no energy (1)" in written
    assert "replica (225)" in written
    assert "1 reference is not in latent space" in written
    assert r"$Fd\bar{3}m$" in written
    assert r"$P6_{3}/mmc$" in written
    drawn = next(c for c in figure.axes[0].collections if c.get_array() is not None)
    np.testing.assert_allclose(drawn.get_array(), [0.05 * k for k in range(20)])
    np.testing.assert_allclose(drawn.get_offsets(), [r["latent"] for r in data.references])
    with pytest.raises(AnalysisError, match="train a model first"):
        plot_latent_map([{"latent": None}])
    with pytest.raises(AnalysisError, match="other points have 2 latent coordinates"):
        plot_latent_map([*references, {"latent": [1.0]}])
    told = [replica | {"condition": value} for value in (0.0, 0.1) for replica in data.replicas]
    written = texts(plot_latent_map(references, told)).replace("\n", " ")
    assert "of 2 conditions lie on one another" in written


def in_more_dimensions(data, dimension: int, rotation: np.ndarray | None = None):
    """The references and replicas of a map with other latent points."""
    generator = np.random.default_rng(dimension)
    scales = np.array([5.0, 2.0, *[0.01] * dimension])[:dimension]
    rotation = np.eye(dimension) if rotation is None else rotation
    points = generator.standard_normal((len(data.references), dimension)) * scales
    references = [
        reference | {"latent": (rotation @ point).tolist()}
        for reference, point in zip(data.references, points, strict=True)
    ]
    replicas = [{"latent": generator.standard_normal(dimension).tolist()} for _ in range(30)]
    return points, references, replicas


@pytest.mark.parametrize("dimension", [3, 8])
def test_latent_map_of_more_dimensions(data, dimension):
    """Points that vary in two directions only, turned at random, keep their distances."""
    rotation = special_ortho_group.rvs(dimension, random_state=1)
    points, references, replicas = in_more_dimensions(data, dimension, rotation)
    figure = plot_latent_map(references, replicas)
    written = texts(figure)
    assert "Principal component 1 (" in written and "of the variance" in written
    assert f"components of the known structures' points in {dimension} latent" in written.replace(
        "\n", " "
    )
    drawn = next(c for c in figure.axes[0].collections if c.get_array() is not None)
    places = np.asarray(drawn.get_offsets())
    np.testing.assert_allclose(pdist(places), pdist(points), atol=0.2)
    assert np.ptp(places[:, 0]) > np.ptp(places[:, 1])
    np.testing.assert_allclose(places.mean(axis=0), 0.0, atol=1e-12)
    one = plot_latent_map(references[:1], replicas)  # no variance to speak of
    assert "known structure (1)" in texts(one)


def test_latent_map_of_one_dimension(data):
    points, references, replicas = in_more_dimensions(data, 1)
    references[3] = references[3] | {"energy_above_ground_state": None}
    figure = plot_latent_map(references, replicas)
    written = texts(figure)
    for label in ("Latent coordinate", "replica (30)", "no energy (1; at the top)", "(19)"):
        assert label in written
    (drawn,) = figure.axes[0].collections
    known = [row for row in range(20) if row != 3]
    expected = [[points[row, 0], 0.05 * row] for row in known]
    np.testing.assert_allclose(drawn.get_offsets(), expected)
    bare = [{"latent": [0.5], "energy_above_ground_state": None, "space_group_symbol": "P1"}]
    assert "no energy (1" in texts(plot_latent_map(bare))


@pytest.mark.parametrize("dimension", [1, 3])
def test_overview_of_other_latent_dimensions(data, dimension):
    _, references, replicas = in_more_dimensions(data, dimension)
    figure = plot_overview(references, replicas, data.relaxations, data.pair)
    assert "replica (30)" in texts(figure)


def test_energies(data):
    extra = [
        {
            "parent_kind": "candidate",
            "groups": ["III"],
            "energy_above_reference_ground_state": None,
        },
        {"parent_kind": "candidate", "groups": ["III"], "energy_above_reference_ground_state": 3.0},
        {
            "_id": "x",
            "duplicate_of": "c11",
            "parent_kind": "candidate",
            "groups": ["III"],
            "energy_above_reference_ground_state": 0.11,
        },
    ]
    figure = plot_energies([*data.relaxations, *extra])
    axes = figure.axes[0]
    counts = [text.get_text() for text in axes.texts]
    # Candidate k has 0.01·k eV/atom and group k mod 4; the window is 0.05 to 0.20 eV/atom.
    candidates = np.arange(60)
    for text, kinds in zip(counts[1:], ((0, 2), (1, 2), (3,)), strict=True):
        own = candidates[np.isin(candidates % 4, kinds)]
        window = int(((own >= 5) & (own <= 20)).sum())
        # The duplicate is one more level, but no other structure.
        more = kinds == (3,)
        assert text == f"$n$ = {len(own) + more}\n{window} in window"
    assert counts[0] == "$n$ = 10\n4 in window"
    written = texts(figure).replace("\n", " ")
    assert "1 structure is above 0.8 eV/atom" in written
    assert "1 relaxation has no energy" in written
    with pytest.raises(AnalysisError, match="relax candidates and references first"):
        plot_energies(extra[:1])
    with pytest.raises(AnalysisError, match="none of 0 relaxations"):
        plot_energies([])
    with pytest.raises(AnalysisError, match="window="):
        plot_energies(data.relaxations, window=(0.3, 0.1))


def test_energies_below_the_reference_are_shown(data):
    better = {
        "parent_kind": "candidate",
        "groups": ["I"],
        "energy_above_reference_ground_state": -0.2,
    }
    figure = plot_energies([*data.relaxations, better])
    assert figure.axes[0].get_ylim()[0] < -0.2


def test_distances(data):
    extra = {"parent_kind": "candidate", "groups": ["I"], "distance_before": 0.1}
    figure = plot_distances([*data.relaxations, extra], threshold=0.13)
    written = texts(figure).replace("\n", " ")
    for label in ("group I (15)", "group II (15)", "groups I and II (15)", "group III (15)"):
        assert label in written
    assert "1 candidate lacks a distance" in written
    assert "screening, 0.13" in written
    points = np.concatenate([c.get_offsets() for c in figure.axes[0].collections])
    expected = [
        (r["distance_before"], r["distance_after"])
        for r in data.relaxations
        if r["parent_kind"] == "candidate"
    ]
    np.testing.assert_allclose(sorted(points.tolist()), sorted(expected))
    with pytest.raises(AnalysisError, match="distance_before, distance_after"):
        plot_distances([extra])
    without_energy = {**extra, "distance_after": 0.2}
    with pytest.raises(AnalysisError, match="energy_above_reference_ground_state"):
        plot_distances([without_energy], colour_by="energy")
    written = texts(plot_distances([*data.relaxations, without_energy], colour_by="energy"))
    assert "1 candidate has no energy to colour by" in written
    with pytest.raises(AnalysisError, match="colour_by='size'"):
        plot_distances(data.relaxations, colour_by="size")


def test_rdf_pair(data):
    pair = data.pair
    figure = plot_rdf_pair(pair.grid, pair.first, pair.second)
    expected = 1 - np.corrcoef(pair.first, pair.second)[0, 1]
    assert f"Pearson's distance {expected:.3f}" in texts(figure)
    channels = [("Sn", "Sn"), ("Sn", "Se"), ("Se", "Se")]
    tripled = [np.tile(f, 3) for f in (pair.first, pair.second)]
    figure = plot_rdf_pair(pair.grid, *tripled, channels=channels)
    assert len(figure.axes) == 3
    assert "Sn–Se" in texts(figure)
    with pytest.raises(AnalysisError, match="do not fit a grid"):
        plot_rdf_pair(pair.grid, *tripled)
    with pytest.raises(AnalysisError, match="quantity='x'"):
        plot_rdf_pair(pair.grid, pair.first, pair.second, quantity="x")


def test_xray_pair(data):
    other = DiffractionPattern(data.pattern.peaks, 0.7093, (10.0, 90.0))
    with pytest.raises(AnalysisError, match="same wavelength"):
        plot_xray_pair(data.pattern, other)
    nothing = DiffractionPattern((), 1.54184, (10.0, 90.0))
    with pytest.raises(AnalysisError, match="wider range"):
        plot_xray_pair(nothing, nothing)
    assert len(plot_xray_pair(data.pattern, nothing).axes) == 2


def test_overview_without_a_new_structure(data):
    figure = plot_overview(data.references, data.replicas, data.relaxations, None)
    assert "No new structure was found" in texts(figure).replace("\n", " ")


def test_plotting_works_without_a_display_and_without_pyplot():
    """Importing the room chooses no backend and loads no workflow or database code."""
    code = (
        "import sys, crysearch.plotting\n"
        "bad = {'jobflow', 'pymongo', 'fireworks', 'matplotlib.pyplot', 'crysearch.records'}\n"
        "print(sorted(bad & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr
