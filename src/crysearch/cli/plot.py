"""``crysearch plot``: the figures of a search."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from crysearch.cli import common
from crysearch.errors import AnalysisError
from crysearch.records import RecordStore, queries
from crysearch.records.values import from_binary_vector, structure_from_document
from crysearch.spec import SearchSpec


class Figure(StrEnum):
    """The figures that can be drawn."""

    all = "all"
    losses = "losses"
    latent = "latent"
    energies = "energies"
    distances = "distances"
    rdf = "rdf"
    xray = "xray"
    overview = "overview"


class ImageFormat(StrEnum):
    """Formats of the figures."""

    png = "png"
    pdf = "pdf"
    svg = "svg"


def plot(
    search: common.SearchArgument = "latest",
    figure: Annotated[
        Figure,
        typer.Option(
            help="losses: of the training; latent: map of the known structures; energies: of the "
            "groups; distances: before and after relaxation; rdf, xray: of two structures."
        ),
    ] = Figure.all,
    pair: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="ID ID",
            help="Two structures for rdf and xray; by default the new structure of lowest energy "
            "and the known one nearest to it.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the figures.")
    ] = None,
    format: Annotated[ImageFormat, typer.Option(help="Format of the figures.")] = ImageFormat.png,
) -> None:
    """Draw figures from the records."""
    with common.reading() as records:
        found = queries.resolve_search(records, search)
        folder = output or Path("crysearch-figures") / found["_id"]
        if figure is Figure.all:
            paths = draw_all(records, found["_id"], folder, pair, format)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            paths = [folder / f"{figure}.{format}"]
            _Drawing(records, found, pair).draw(figure, paths[0])
    for path in paths:
        typer.echo(f"wrote {path}")


def draw_all(
    records: RecordStore,
    search: str,
    folder: Path,
    pair: tuple[str, str] | None = None,
    format: ImageFormat = ImageFormat.png,
) -> list[Path]:
    """Draw every figure for which there are records; says which could not be drawn, and why."""
    document = records.get("searches", search)
    assert document is not None
    drawing = _Drawing(records, document, pair)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for figure in Figure:
        if figure is Figure.all:
            continue
        path = folder / f"{figure}.{format}"
        try:
            drawing.draw(figure, path)
        except AnalysisError as error:
            typer.echo(f"no figure {figure}: {error}", err=True)
        else:
            paths.append(path)
    return paths


class _Drawing:
    """The records that the figures of one search need, fetched once."""

    def __init__(
        self, records: RecordStore, search: dict[str, Any], pair: tuple[str, str] | None
    ) -> None:
        here = {"search": search["_id"]}
        self.spec = SearchSpec.build(search["spec"])
        self.records, self.here, self.pair = records, here, pair
        light = {"structure": 0, "initial_structure": 0, "fingerprint": 0}
        self.references = records.find("references", here | {"status": "sound"}, light)
        self.replicas = records.find("replicas", here, {"fingerprint": 0})
        self.relaxations = records.find("relaxations", here, light)
        self.model = records.find_one("models", here)

    def draw(self, figure: Figure, path: Path) -> None:
        """Draw one figure to a file."""
        from crysearch import plotting

        threshold = self.spec.screening.threshold
        actions: dict[Figure, Callable[[], Any]] = {
            Figure.losses: lambda: plotting.plot_loss_curves(self.model or {}, path=path),
            Figure.latent: lambda: plotting.plot_latent_map(
                self.references, self.replicas, path=path
            ),
            Figure.energies: lambda: plotting.plot_energies(self.relaxations, path=path),
            Figure.distances: lambda: plotting.plot_distances(
                self.relaxations, threshold=threshold, path=path
            ),
            Figure.rdf: lambda: self._rdf(path),
            Figure.xray: lambda: self._xray(path),
            Figure.overview: lambda: self._overview(path),
        }
        actions[figure]()

    def _rdf(self, path: Path) -> None:
        from crysearch import plotting

        first, second, names = self._pair()
        rdf = self.spec.radial_distribution_function
        plotting.plot_rdf_pair(
            rdf.grid,
            from_binary_vector(first["fingerprint"]),
            from_binary_vector(second["fingerprint"]),
            names,
            self.spec.fingerprint.quantity,
            rdf.pairs,
            path=path,
        )

    def _xray(self, path: Path) -> None:
        from crysearch import plotting
        from crysearch.analysis import xray_pattern

        first, second, names = self._pair()
        patterns = [xray_pattern(structure_from_document(item)) for item in (first, second)]
        plotting.plot_xray_pair(patterns[0], patterns[1], names, path=path)

    def _overview(self, path: Path) -> None:
        from crysearch import plotting

        first, second, names = self._pair()
        rdf = self.spec.radial_distribution_function
        if rdf.pairs is not None:
            raise AnalysisError(
                "the overview shows a total radial distribution function, but this search has "
                "species-resolved ones: draw the figures one by one"
            )
        plotting.plot_overview(
            self.references,
            self.replicas,
            self.relaxations,
            plotting.RdfPair(
                rdf.grid,
                from_binary_vector(first["fingerprint"]),
                from_binary_vector(second["fingerprint"]),
                names,
                self.spec.fingerprint.quantity,
            ),
            threshold=self.spec.screening.threshold,
            path=path,
        )

    def _pair(self) -> tuple[dict[str, Any], dict[str, Any], tuple[str, str]]:
        """Two documents with structures, and their names."""
        if self.pair is not None:
            documents = [
                queries.find_by_id_prefix(
                    self.records,
                    identifier,
                    collections=("relaxations", "candidates", "references"),
                    search=self.here["search"],
                )[1]
                for identifier in self.pair
            ]
        else:
            query = {**self.here, "parent_kind": "candidate", "converged": True}
            order = [("energy_per_atom", 1)]
            new = query | {"is_new": True, "duplicate_of": None}
            best = self.records.find_one("relaxations", new, sort=order) or self.records.find_one(
                "relaxations", query, sort=order
            )
            if best is None:
                raise AnalysisError("no random crystal has converged: there is no pair to compare")
            nearest = self.records.get("references", best["nearest_reference_after"]["id"])
            assert nearest is not None
            documents = [best, nearest]
        return documents[0], documents[1], (_name(documents[0]), _name(documents[1]))


def _name(document: dict[str, Any]) -> str:
    if "reference_id" in document:
        return f"{document['space_group_symbol'] or '?'} {document['reference_id']}"
    symbol = (document.get("space_group_after") or {}).get("symbol", "?")
    return f"{symbol} {document['_id'][:10]}"
