"""Regenerate the shipped symmetry tables: ``python -m crysearch.sampling.build_tables``.

The Wyckoff positions come from PyXtal (its copy of the Bilbao tables). They are shipped as
integers because building them from PyXtal takes over a second and its import half a second in
every process, while the file loads in milliseconds; a test holds the file against PyXtal and
spglib.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

TABLES_PATH = Path(__file__).parent / "data" / "wyckoff_positions.npz"
TRANSLATION_UNIT = 24
"""Every translation in the tables is a whole number of twenty-fourths."""


def build_tables() -> dict[str, np.ndarray]:
    """Flatten PyXtal's Wyckoff positions of the 230 space groups into integer arrays.

    Returns
    -------
    dict of str to numpy.ndarray
        The fields of :class:`crysearch.sampling.wyckoff.WyckoffTables`.
    """
    from pyxtal.symmetry import Group

    group_start = [0]
    operation_start = [0]
    multiplicity: list[int] = []
    freedom: list[int] = []
    rotations: list[np.ndarray] = []
    translations: list[np.ndarray] = []
    hall_numbers: list[int] = []
    for number in range(1, 231):
        group = Group(number)
        hall_numbers.append(group.hall_number)
        for position in group.Wyckoff_positions:
            matrices = np.array([operation.affine_matrix for operation in position.ops])
            rotation = np.rint(matrices[:, :3, :3])
            translation = np.rint(matrices[:, :3, 3] * TRANSLATION_UNIT)
            if not (
                np.allclose(rotation, matrices[:, :3, :3], atol=1e-6)
                and np.allclose(translation, matrices[:, :3, 3] * TRANSLATION_UNIT, atol=1e-6)
            ):
                raise ValueError(f"group {number} {position.get_label()} is not on the grid")
            rotations.append(rotation.astype(np.int8))
            translations.append((translation % TRANSLATION_UNIT).astype(np.int8))
            multiplicity.append(len(position.ops))
            freedom.append(int(position.get_dof()))
            operation_start.append(operation_start[-1] + len(position.ops))
        group_start.append(len(multiplicity))
    return {
        "group_start": np.array(group_start, dtype=np.int32),
        "operation_start": np.array(operation_start, dtype=np.int32),
        "multiplicity": np.array(multiplicity, dtype=np.int32),
        "freedom": np.array(freedom, dtype=np.int32),
        "rotations": np.concatenate(rotations),
        "translations": np.concatenate(translations),
        "hall_numbers": np.array(hall_numbers, dtype=np.int32),
    }


def main() -> None:
    """Write the shipped file."""
    TABLES_PATH.parent.mkdir(exist_ok=True)
    np.savez_compressed(TABLES_PATH, **build_tables())  # type: ignore[arg-type]
    sys.stdout.write(f"{TABLES_PATH}: {TABLES_PATH.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
