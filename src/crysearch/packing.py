"""Trained models, and other arrays with a plain header, as bytes, without pickle.

A line "FORMAT VERSION SHA256", a line of JSON (name and plain settings), and the weights as an npz
archive. The checksum covers everything after the first line, so that any damage is noticed before
something is made of it.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crysearch.errors import CrysearchError, TrainingError


@dataclass(frozen=True)
class Packing:
    """One kind of stored things.

    Parameters
    ----------
    format : str
        The first word of the data.
    noun : str
        What error messages call them.
    version : int
        Of the format; newer ones are refused.
    error : type
        What is raised.
    again : str
        What a person does about damaged data.
    """

    format: str
    noun: str
    version: int = 1
    error: type[CrysearchError] = TrainingError
    again: str = "train again"

    def pack(
        self, name: str, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
    ) -> bytes:
        """Pack a model's name, plain header and arrays; the same input gives the same bytes."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        text = json.dumps({"name": name, **header}, allow_nan=False, sort_keys=True)
        content = text.encode() + b"\n" + buffer.getvalue()
        checksum = hashlib.sha256(content).hexdigest()
        return f"{self.format} {self.version} {checksum}\n".encode() + content

    def unpack(self, name: str, data: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return header and arrays packed by `pack`.

        Raises
        ------
        CrysearchError
            Of the kind `error`, if the data are damaged or of another kind, were written in a
            newer format, or hold something else than `name`.
        """
        first_line, _, content = data.partition(b"\n")
        words = first_line.decode("ascii", errors="replace").split(" ")
        if len(words) != 3 or words[0] != self.format or not words[1].isdecimal():
            raise self.error(
                f"The data ({len(data)} bytes) are no stored {self.noun}, or their beginning is "
                f"damaged; {self.again}."
            )
        if int(words[1]) > self.version:
            raise self.error(
                f"The stored {self.noun} has format version {words[1]}, newer than the "
                f"{self.version} that this crysearch reads; upgrade crysearch, or {self.again}."
            )
        if hashlib.sha256(content).hexdigest() != words[2]:
            raise self.error(
                f"The stored {self.noun} is damaged ({len(data)} bytes, wrong checksum); restore "
                f"it from a copy, or {self.again}."
            )
        text, _, archive = content.partition(b"\n")
        header = json.loads(text)
        if header["name"] != name:
            raise self.error(
                f"The stored {self.noun} is a {header['name']!r}, not a {name!r}; load it by its "
                "own name."
            )
        with np.load(io.BytesIO(archive), allow_pickle=False) as members:
            return header, {key: members[key] for key in members.files}
