"""``crysearch sample``: random crystals straight to files, without a search."""

from __future__ import annotations

import math
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from crysearch.errors import CrysearchError, SamplingError, SpecError
from crysearch.sampling.effort import group_ranges
from crysearch.sampling.files import FileFormat
from crysearch.spec import SearchSpec

if TYPE_CHECKING:
    from crysearch.sampling.files import Written
    from crysearch.sampling.streaming import Stream

# PyXtal makes a handful per second: its batches are smaller, so that processes can share them.
_PYXTAL_BATCH = 20
# Seconds between two lines of progress where there is no terminal.
_LOG_INTERVAL = 15.0


class Sampler(StrEnum):
    """The samplers."""

    wyckoff = "wyckoff"
    pyxtal = "pyxtal"


class Format(StrEnum):
    """Formats of the files in a folder."""

    cif = "cif"
    poscar = "poscar"
    extxyz = "extxyz"


def sample(
    what: Annotated[
        str,
        typer.Argument(
            metavar="COMPOSITION|SPEC",
            help="Atoms in the conventional cell, such as `Si8` or `Sn8Se8`; or a specification "
            "file, whose sampling part and seed are then used.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="A file `….extxyz` or `….cif` for all crystals, or a folder for a file each.",
        ),
    ],
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="How many.")] = 1000,
    volume_per_atom: Annotated[
        float | None, typer.Option(metavar="Å³", help="Mean volume of the conventional cell.")
    ] = None,
    volume_tolerance: Annotated[
        float | None, typer.Option(help="Volumes are uniform within ± this fraction.  [0.1]")
    ] = None,
    minimum_distance: Annotated[
        list[str] | None,
        typer.Option("--minimum-distance", metavar="A-B=Å", help="One for each pair of elements."),
    ] = None,
    space_group: Annotated[
        list[str] | None,
        typer.Option(metavar="N or N-M", help="Groups to draw from; may be repeated.  [1-230]"),
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(metavar="N=W", help="Weight of a space group, 1 by default, 0 for never."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Every crystal derives from it.")] = None,
    sampler: Annotated[Sampler | None, typer.Option(help="`pyxtal` is slow.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Crystals per batch; part of the random stream.")
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="Processes; the crystals do not depend on it.")
    ] = 1,
    format: Annotated[
        Format | None,
        typer.Option(help="Format of the files in a folder; a file's name tells its own.  [cif]"),
    ] = None,
    formula_units: Annotated[
        int | None, typer.Option(help="With SPEC: which of its cell sizes.", min=1)
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="FIELD=VALUE", help="With SPEC: change a field."),
    ] = None,
) -> None:
    """Write random symmetric crystals to files, as many as you like, without a search."""
    arguments = {
        "--volume-per-atom": volume_per_atom,
        "--volume-tolerance": volume_tolerance,
        "--minimum-distance": minimum_distance,
        "--space-group": space_group,
        "--weight": weight,
        "--seed": seed,
        "--sampler": sampler,
        "--batch-size": batch_size,
    }
    path = Path(what)
    if path.suffix in (".yaml", ".yml", ".py") or path.is_file():
        spec, units = _from_file(path, changes or [], formula_units, arguments)
    else:
        if changes or formula_units:
            raise SpecError("--set and --formula-units go with a specification file")
        spec, units = _from_arguments(what, arguments)
    from crysearch.sampling.streaming import Stream

    stream = Stream(
        request=spec.crystal_request(units),
        seed=(spec.seed, units),
        sampler=spec.sampling.sampler,
        batch_size=spec.sampling.batch_size,
    )
    with _destination(output, format) as (form, write):
        _write_all(stream, number, processes, form, write, output)


def _from_file(
    path: Path, changes: list[str], formula_units: int | None, arguments: dict[str, Any]
) -> tuple[SearchSpec, int]:
    from crysearch.cli.run import read_spec

    given = [name for name, value in arguments.items() if value]
    if given:
        raise SpecError(
            f"{given[0]}: the specification {path} says that; change it there or with "
            "--set FIELD=VALUE (`crysearch spec` shows the fields)"
        )
    spec = read_spec(path, changes)
    sizes = spec.formula_units
    if formula_units is None and len(sizes) > 1:
        raise SpecError(
            f"--formula-units: missing; {path} has the cell sizes {', '.join(map(str, sizes))}: "
            "choose one"
        )
    if formula_units is not None and formula_units not in sizes:
        raise SpecError(
            f"--formula-units {formula_units}: {path} has the cell sizes "
            f"{', '.join(map(str, sizes))}; add it there or with --set formula_units=[...]"
        )
    return spec, sizes[0] if formula_units is None else formula_units


def _from_arguments(formula: str, arguments: dict[str, Any]) -> tuple[SearchSpec, int]:
    """The specification that the arguments stand for: one cell size, all else by default."""
    counts: dict[str, int] = {}
    if not re.fullmatch(r"([A-Z][a-z]?\d*)+", formula):
        raise SpecError(
            f"{formula}: neither a specification file nor a composition such as Si8 or Sn8Se8"
        )
    for element, count in re.findall(r"([A-Z][a-z]?)(\d*)", formula):
        counts[element] = counts.get(element, 0) + int(count or 1)
    units = math.gcd(*counts.values())
    if units == 0:
        raise SpecError(f"{formula}: has no atoms; give a composition such as Si8 or Sn8Se8")
    if arguments["--volume-per-atom"] is None:
        raise SpecError(f"--volume-per-atom: missing; give it in Å³ for {formula}, such as 23")
    sampling: dict[str, Any] = {}
    sampler = arguments["--sampler"]
    if sampler is not None:
        sampling["sampler"] = str(sampler)
    if arguments["--batch-size"] is not None:
        sampling["batch_size"] = arguments["--batch-size"]
    elif sampler is Sampler.pyxtal:
        sampling["batch_size"] = _PYXTAL_BATCH
    if arguments["--space-group"]:
        sampling["space_groups"] = _groups(arguments["--space-group"])
    if arguments["--weight"]:
        sampling["space_group_weights"] = dict(
            _number("--weight", text) for text in arguments["--weight"]
        )
    content: dict[str, Any] = {
        "composition": "".join(
            f"{element}{count // units if count > units else ''}"
            for element, count in counts.items()
        ),
        "formula_units": [units],
        "volume_per_formula_unit": arguments["--volume-per-atom"] * sum(counts.values()) / units,
        "minimum_distances": dict(
            _number("--minimum-distance", text) for text in arguments["--minimum-distance"] or []
        ),
        "sampling": sampling,
    }
    for field, name in (("volume_tolerance", "--volume-tolerance"), ("seed", "--seed")):
        if arguments[name] is not None:
            content[field] = arguments[name]
    return SearchSpec.build(content), units


def _number(option: str, text: str) -> tuple[str, float]:
    key, sign, value = text.partition("=")
    example = "Si-Si=2.1" if option == "--minimum-distance" else "227=5"
    try:
        if not sign:
            raise ValueError
        return key.strip(), float(value)
    except ValueError:
        raise SpecError(f"{option} {text}: write it like {example}") from None


def _groups(texts: list[str]) -> list[int]:
    groups: list[int] = []
    for text in texts:
        for part in text.split(","):
            match = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", part)
            if match is None:
                raise SpecError(f"--space-group {text}: write a number or a range, such as 195-230")
            groups += range(int(match[1]), int(match[2] or match[1]) + 1)
    return list(dict.fromkeys(groups))


Write = Callable[["Written"], None]


@contextmanager
def _destination(output: Path, chosen: Format | None) -> Iterator[tuple[FileFormat, Write]]:
    """The format, and what writes a batch to the file or folder; nothing is overwritten."""
    by_suffix: dict[str, FileFormat] = {".extxyz": "extxyz", ".xyz": "extxyz", ".cif": "cif"}
    form = by_suffix.get(output.suffix)
    if form is None and output.suffix and not output.is_dir():
        raise SamplingError(
            f"--output {output}: give a file ending in .extxyz or .cif, or a folder for one file "
            "per crystal"
        )
    if form is not None and chosen is not None and chosen.value != form:
        raise SamplingError(f"--format {chosen.value}: {output} is a file of format {form}")
    try:
        if form is not None:
            output.parent.mkdir(parents=True, exist_ok=True)
            with output.open("x", encoding="utf-8") as stream:
                yield form, lambda written: stream.writelines(written.texts)
            return
        output.mkdir(parents=True, exist_ok=True)
        if any(output.iterdir()):
            raise FileExistsError

        def write(written: Written) -> None:
            for name, text in zip(written.names, written.texts, strict=True):
                (output / name).write_text(text, encoding="utf-8")

        yield cast(FileFormat, (chosen or Format.cif).value), write
    except FileExistsError:
        raise SamplingError(
            f"--output {output}: exists already and is not overwritten; give another name"
        ) from None
    except OSError as error:
        raise SamplingError(f"--output {output}: cannot be written ({error.strerror})") from None
    except BaseException:
        # What is empty would only be in the way of the next try.
        if output.is_dir() and not any(output.iterdir()):
            output.rmdir()
        elif output.is_file() and not output.stat().st_size:
            output.unlink()
        raise


def _write_all(
    stream: Stream, number: int, processes: int, form: FileFormat, write: Write, output: Path
) -> None:
    from tqdm import tqdm

    from crysearch.sampling.files import write_batch

    done = 0
    accepted: Counter[str] = Counter()
    attempts: Counter[str] = Counter()
    terminal = sys.stderr.isatty()
    started = time.perf_counter()
    batches = stream.batches(number, partial(write_batch, format=form), processes)
    try:
        with tqdm(
            desc=f"Random crystals, {stream.request.formula}",
            total=number,
            unit=" crystals",
            mininterval=0.1 if terminal else _LOG_INTERVAL,
            dynamic_ncols=terminal,
        ) as bar:
            for written in batches:
                write(written)
                done += len(written.texts)
                bar.update(len(written.texts))
                for group, (tried, found, _) in written.group_record.items():
                    attempts[group] += tried
                    accepted[group] += found
    except (KeyboardInterrupt, CrysearchError) as error:
        typer.echo(f"{output}: {done:,} whole crystals written before the end.", err=True)
        if isinstance(error, KeyboardInterrupt):
            raise typer.Exit(130) from None
        raise
    finally:
        batches.close()
    seconds = time.perf_counter() - started
    total = attempts.total()
    typer.echo(
        f"{done:,} crystals of {stream.request.formula} in {len(+accepted)} space groups, "
        f"{total:,} attempts, {seconds:.1f} s: {done / seconds:,.0f} crystals/s with writing "
        f"({processes} process{'es' if processes > 1 else ''})."
    )
    barren = [group for group in attempts if not accepted[group]]
    if barren:
        share = sum(attempts[group] for group in barren) / total
        typer.echo(
            f"Space groups {group_ranges([int(group) for group in barren])} gave none: "
            f"{share:.0%} of the attempts (--weight N=0 leaves a group out)."
        )
    typer.echo(f"Written to {output}")
