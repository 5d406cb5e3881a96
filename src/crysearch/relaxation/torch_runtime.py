"""What the engines that run on PyTorch share: device, threads, quiet imports, checksums."""

from __future__ import annotations

import contextlib
import hashlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from crysearch.errors import RelaxationError

if TYPE_CHECKING:
    import torch


def resolve_device(device: str) -> torch.device:
    """Turn ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"auto"`` (a GPU if there is one) into a device.

    Raises
    ------
    RelaxationError
        If the name is not a device or no such device is available.
    """
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError:
        resolved = None
    if resolved is None or resolved.type not in ("cpu", "cuda"):
        raise RelaxationError(f"device={device!r} is unknown; choose 'cpu', 'cuda' or 'auto'")
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise RelaxationError(
            f"device={device!r} is not available here (PyTorch sees "
            f"{torch.cuda.device_count()} CUDA devices); use 'cpu' or 'auto'"
        )
    return resolved


def check_threads(threads: int | None) -> None:
    """Refuse a thread number below 1; None leaves PyTorch's own setting.

    Raises
    ------
    RelaxationError
        If ``threads`` is neither None nor a positive whole number.
    """
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise RelaxationError(f"threads={threads!r} must be a whole number of at least 1, or None")


@contextlib.contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Use this many threads inside the context and restore the former number after it."""
    import torch

    former = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(former)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what a library prints and warns while it loads away from the user's terminal."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def weights_file(path: str, package: str) -> Path:
    """The path of a weights file that a package ships, checked so that nothing is downloaded.

    Raises
    ------
    RelaxationError
        If the file is missing.
    """
    file = Path(path)
    if not file.is_file():
        raise RelaxationError(
            f"the weights {file.name} are missing from the installed package {package!r}; "
            f"reinstall it: pip install --force-reinstall {package}"
        )
    return file


def checksum(file: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
