"""``python -m crysearch``, the same as the command ``crysearch``."""

from __future__ import annotations

from crysearch.cli.main import main

if __name__ == "__main__":
    main()
