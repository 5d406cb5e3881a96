"""``python -m crysearch.vasp_standin``, in a folder with VASP's input files."""

from __future__ import annotations

import sys
from pathlib import Path

from crysearch.vasp_standin.run import run


def main() -> int:
    """Run the calculation of the working folder; arguments are ignored, as VASP does."""
    return run(Path.cwd())


if __name__ == "__main__":
    sys.exit(main())
