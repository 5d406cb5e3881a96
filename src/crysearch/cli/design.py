"""``crysearch design``: crystals for chosen points of the latent space, as CIF files."""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from crysearch.cli import common
from crysearch.errors import AnalysisError, SamplingError, SpecError
from crysearch.records import RecordStore, queries
from crysearch.spec import SearchSpec

if TYPE_CHECKING:
    from crysearch.generative import GenerativeModel
    from crysearch.guiding.navigation import DesignResult, DesignTarget, Navigator

_LOG_INTERVAL = 15.0


def design(
    near: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="A known structure, such as `mp-149`: alone its RDF is the target, with "
            "--towards the line from it.",
        ),
    ] = None,
    towards: Annotated[
        str | None, typer.Option(metavar="ID", help="The known structure where the line ends.")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(help="Targets on the line, both ends included.  [9]"),
    ] = None,
    latent: Annotated[
        list[str] | None,
        typer.Option(metavar="X,Y", help="A latent point as a target; may be repeated."),
    ] = None,
    condition: Annotated[
        float | None,
        typer.Option(
            help="What a conditional model is told with each --latent: an energy (eV/atom) or a "
            "density (g/cm³). A line takes those of its ends."
        ),
    ] = None,
    search: Annotated[
        str,
        typer.Option(help="Whose model: `latest`, the name of a search, or of its id the start."),
    ] = "latest",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the CIF files.")
    ] = Path("crysearch-design"),
    crystals: Annotated[
        int, typer.Option("--crystals", "-n", min=1, help="Different crystals per target.")
    ] = 3,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Pearson's distance within which a target is reached.  [the search's]",
        ),
    ] = None,
    formula_units: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Cell size; may be repeated.  [those of the search]"),
    ] = None,
    draw: Annotated[int, typer.Option(min=1, help="Random crystals drawn per cell size.")] = 10_000,
    descend: Annotated[
        int, typer.Option(min=1, help="How many of these, the nearest, are moved per target.")
    ] = 300,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Every crystal derives from it.  [the search's]")
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draw the RDF of the best crystal before, during and after, for up to three of "
            "the targets.",
        ),
    ] = None,
    map_file: Annotated[
        Path | None,
        typer.Option(
            "--map", metavar="FILE", help="Draw targets and crystals into the latent space."
        ),
    ] = None,
) -> None:
    """Make crystals that resemble points of the latent space, or a known structure."""
    _check_usage(near, towards, steps, latent, condition, threshold)
    _check_figures(figure, map_file)
    with common.reading() as records:
        document = queries.resolve_search(records, search)
        known = _Known(records, document)
    if map_file is not None and (
        known.spec.generative.latent_dimension < 2 or not (latent or towards)
    ):
        raise AnalysisError(
            f"--map {map_file}: needs targets in a latent space of two or more dimensions; give "
            "--towards ID or --latent X,Y, or leave it out"
        )
    known.check_condition(condition, latent or [])
    targets = known.targets(near, towards, 9 if steps is None else steps, latent or [], condition)
    spec = known.spec
    from crysearch.cli.design_output import Output, draw_descents, draw_map
    from crysearch.guiding.navigation import STOP_DISTANCE, Navigator

    wanted = spec.screening.threshold if threshold is None else threshold
    settings = spec.with_changes(
        {"screening.threshold": wanted, "guiding.stop_distance": min(wanted, STOP_DISTANCE)}
    ).guiding_settings
    sizes = list(dict.fromkeys(formula_units or spec.formula_units))
    navigator = Navigator(
        spec.radial_distribution_function,
        {units: spec.crystal_request(units) for units in sizes},
        settings,
        sampler=spec.sampling.sampler,
        seed=spec.seed if seed is None else seed,
        draw=draw,
        descend=descend,
        crystals=crystals,
        duplicate_distance=spec.guiding.duplicate_distance,
    )
    told = Output(spec, known.nearest, wanted)
    with _new_folder(output):
        results = _find(navigator, targets)
        rows = told.write(results, output)
    told.tell(results, rows, output)
    if figure is not None:
        draw_descents(navigator, spec, results, wanted, figure)
    if map_file is not None:
        draw_map(known.model, known.references, results, known.nearest, map_file)


def _check_usage(
    near: str | None,
    towards: str | None,
    steps: int | None,
    latent: list[str] | None,
    condition: float | None,
    threshold: float | None,
) -> None:
    if near is None and not latent and towards is None:
        raise SpecError(
            "no target: give --near ID, --near ID --towards ID, or --latent X,Y (`crysearch "
            "design --help`)"
        )
    if towards is not None and near is None:
        raise SpecError(f"--towards {towards}: needs --near ID, where the line starts")
    if towards is not None and towards == near:
        raise SpecError(
            f"--towards {towards}: is where the line starts; leave it out for {near} alone"
        )
    if steps is not None and towards is None:
        raise SpecError(f"--steps {steps}: needs a line, --near ID --towards ID")
    if steps is not None and steps < 2:
        raise SpecError(f"--steps {steps}: a line has its two ends at least; give 2 or more")
    if condition is not None and not latent:
        raise SpecError(
            f"--condition {condition:g}: is for latent points, --latent X,Y; a known structure is "
            "not decoded, and a line takes the conditions of its ends: leave it out"
        )
    if condition is not None and not math.isfinite(condition):
        raise SpecError(f"--condition {condition:g}: is not finite; give a number, such as 0.1")
    if threshold is not None and not 0.0 < threshold < 2.0:
        raise SpecError(
            f"--threshold {threshold:g}: is not a Pearson's distance; give a number above 0 and "
            "below 2, such as 0.13"
        )


def _check_figures(figure: Path | None, map_file: Path | None) -> None:
    """Refuse names that no figure can be written to, before any work."""
    if figure is None and map_file is None:
        return
    from crysearch.plotting.style import SUFFIXES

    for option, path in (("--figure", figure), ("--map", map_file)):
        if path is not None and path.suffix.lower() not in SUFFIXES:
            raise AnalysisError(f"{option} {path}: give a name ending in {', '.join(SUFFIXES)}")


class _Known:
    """The known structures of a search and, where there is one, its model."""

    def __init__(self, records: RecordStore, document: dict[str, Any]) -> None:
        from crysearch.fingerprints import NearestFingerprint
        from crysearch.workflows.context import conditions_of, fingerprints_of
        from crysearch.workflows.stages.generation import load_trained_model, sound_references

        self.document, self.spec = document, SearchSpec.build(document["spec"])
        search = self.spec.search_id
        self.references = sound_references(records, self.spec)
        self.set_aside = {
            other["reference_id"]: other
            for other in records.find(
                "references",
                {"search": search, "status": {"$ne": "sound"}},
                ["reference_id", "reason"],
            )
        }
        trained = records.find_one("models", {"search": search}, ["_id"]) is not None
        self._model = load_trained_model(records, search) if trained else None
        if not self.references:
            raise SpecError(self._unfinished("has no known structures yet"))
        self.fingerprints = fingerprints_of(
            self.references, self.spec.radial_distribution_function.size
        )
        self._nearest = NearestFingerprint(self.fingerprints)
        #: (n, 1), not-a-number where not known; None for a model that takes none.
        self.conditions = conditions_of(self.spec, self.references)

    @property
    def model(self) -> GenerativeModel:
        """The trained model."""
        if self._model is None:
            raise SpecError(self._unfinished("has no trained model to decode latent points with"))
        return self._model

    def check_condition(self, condition: float | None, latent: Sequence[str]) -> None:
        """Refuse a condition that the model does not take, or a missing one."""
        name, unit = self.spec.generative.condition, self.spec.generative.condition_unit
        if self.conditions is None:
            if condition is not None:
                raise SpecError(
                    f"--condition {condition:g}: the model of the search takes none "
                    "(generative.condition is 'none'); leave it out"
                )
            return
        low, high = np.nanmin(self.conditions), np.nanmax(self.conditions)
        if latent and condition is None:
            raise SpecError(
                f"--latent {latent[0]}: the model of the search decodes a point with the {name} "
                f"that is wanted; give --condition VALUE in {unit} (known structures: {low:.3g} to "
                f"{high:.3g})"
            )
        if condition is not None and (condition < 0 or (name == "density" and condition == 0)):
            least = "0 or more" if name == "energy" else "a value above 0"
            raise SpecError(f"--condition {condition:g}: is no {name}; give {least} ({unit})")
        if condition is not None and not low <= condition <= high:
            typer.echo(
                f"--condition {condition:g}: outside of what the model has learned, {low:.3g} to "
                f"{high:.3g} {unit}",
                err=True,
            )

    def targets(
        self,
        near: str | None,
        towards: str | None,
        steps: int,
        latent: Sequence[str],
        condition: float | None,
    ) -> list[DesignTarget]:
        """The targets of the options."""
        from crysearch.guiding.navigation import DesignTarget, line_targets, point_targets

        found: list[DesignTarget] = []
        if near is not None:
            first = self._reference("--near", near)
            if towards is None:
                found.append(DesignTarget(near, self.fingerprints[first]))
            else:
                last = self._reference("--towards", towards)
                model = self.model
                ends = [
                    (name, self._latent(option, row))
                    for option, name, row in (
                        ("--near", near, first),
                        ("--towards", towards, last),
                    )
                ]
                told = self.conditions
                between = None if told is None else (float(told[first, 0]), float(told[last, 0]))
                found += line_targets(model, ends[0], ends[1], steps, between)
        if latent:
            dimension = self.model.latent_dimension
            points = [_point(text, dimension) for text in latent]
            labels = [f"latent {text}" for text in latent]
            wanted = None if condition is None else np.full(len(points), condition)
            found += point_targets(self.model, np.array(points), labels, wanted)
        # An RDF does not tell the volume: that of the known structure nearest to it is taken.
        rows, _ = self._nearest.query(np.stack([target.fingerprint for target in found]))
        volumes = [self.references[int(row)]["volume_per_atom"] for row in rows]
        return [replace(t, volume=v) for t, v in zip(found, volumes, strict=True)]

    def nearest(self, fingerprint: np.ndarray) -> tuple[str, float]:
        """The known structure nearest to an RDF, with its space group, and its distance."""
        rows, distances = self._nearest.query(fingerprint)
        reference = self.references[int(rows[0])]
        symbol = reference.get("space_group_symbol")
        name = reference["reference_id"]
        return f"{name} ({symbol})" if symbol else name, float(distances[0])

    def _reference(self, option: str, name: str) -> int:
        """Row of a known structure."""
        names = [reference["reference_id"] for reference in self.references]
        if name in names:
            return names.index(name)
        if name in self.set_aside:
            reason = self.set_aside[name].get("reason") or "unsound"
            raise SpecError(
                f"{option} {name}: was set aside by the search ({reason}) and has no place in "
                f"the latent space; `crysearch show {name}` says more"
            )
        close = difflib.get_close_matches(name, names, n=5, cutoff=0.5) or names[:5]
        raise SpecError(
            f"{option} {name}: is none of the {len(names)} known structures of the search; did "
            f"you mean {', '.join(close)}?"
        )

    def _latent(self, option: str, row: int) -> list[float]:
        """Latent point of a known structure that a line ends at."""
        reference = self.references[row]
        if reference["latent"] is None:
            raise SpecError(
                f"{option} {reference['reference_id']}: has no place in the latent space, because "
                f"its {self.spec.generative.condition} is not known and the model was trained "
                "without it; choose another known structure"
            )
        return reference["latent"]

    def _unfinished(self, what: str) -> str:
        name, search = self.document.get("name"), self.spec.search_id
        return (
            f"--search {search} ({name}): {what}; make it with `crysearch run SPEC --until "
            "replicas`, with the specification of that search, or choose another one"
        )


def _point(text: str, dimension: int) -> list[float]:
    """A latent point as written on the command line."""
    example = ",".join(["0.3", "-1.2", "0.5", "0.1"][:dimension]) or "0.3"
    try:
        point = [float(part) for part in text.split(",")]
    except ValueError:
        raise SpecError(f"--latent {text}: write numbers, such as --latent {example}") from None
    if not all(math.isfinite(value) for value in point):
        raise SpecError(f"--latent {text}: is not finite; write it like --latent {example}")
    if len(point) != dimension:
        raise SpecError(
            f"--latent {text}: has {len(point)} coordinate{'s' if len(point) != 1 else ''}, but "
            f"the latent space of the search has {dimension}; write it like --latent {example}"
        )
    return point


@contextmanager
def _new_folder(output: Path) -> Iterator[None]:
    """Make a folder; nothing is overwritten, and nothing empty is left behind."""
    if output.suffix.lower() in (".cif", ".extxyz", ".xyz", ".vasp"):
        raise SamplingError(f"--output {output}: give a folder, for one CIF file per crystal")
    try:
        output.mkdir(parents=True, exist_ok=True)
        if any(output.iterdir()):
            raise FileExistsError
        yield
    except FileExistsError:
        raise SamplingError(
            f"--output {output}: exists already and is not overwritten; give another name"
        ) from None
    except OSError as error:
        raise SamplingError(f"--output {output}: cannot be written ({error.strerror})") from None
    finally:
        if output.is_dir() and not any(output.iterdir()):
            output.rmdir()


def _find(navigator: Navigator, targets: Sequence[DesignTarget]) -> list[DesignResult]:
    from tqdm import tqdm

    terminal = sys.stderr.isatty()
    with tqdm(
        desc="Random crystals",
        total=navigator.draw * len(navigator.requests),
        unit=" crystals",
        mininterval=0.1 if terminal else _LOG_INTERVAL,
        dynamic_ncols=terminal,
    ) as bar:
        return navigator.design(targets, bar.update)
