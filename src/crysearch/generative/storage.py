"""Trained models as bytes, without pickle.

A line "crysearch-generative-model VERSION SHA256", a line of JSON (name, architecture, scaler),
and the weights as an npz archive. The checksum covers everything after the first line, so that
any damage is noticed before something is made of it.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crysearch.errors import TrainingError

FORMAT = "crysearch-generative-model"
FORMAT_VERSION = 1


def pack(name: str, header: Mapping[str, Any], arrays: Mapping[str, NDArray[np.float64]]) -> bytes:
    """Pack a model's name, plain header and arrays; the same input gives the same bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    text = json.dumps({"name": name, **header}, allow_nan=False, sort_keys=True)
    content = text.encode() + b"\n" + buffer.getvalue()
    checksum = hashlib.sha256(content).hexdigest()
    return f"{FORMAT} {FORMAT_VERSION} {checksum}\n".encode() + content


def unpack(name: str, data: bytes) -> tuple[dict[str, Any], dict[str, NDArray[np.float64]]]:
    """Return header and arrays of a model packed by `pack`.

    Raises
    ------
    TrainingError
        If the data are damaged or not a model's, were written in a newer format, or hold another
        model than `name`.
    """
    first_line, _, content = data.partition(b"\n")
    words = first_line.decode("ascii", errors="replace").split(" ")
    if len(words) != 3 or words[0] != FORMAT or not words[1].isdecimal():
        raise TrainingError(
            f"The data ({len(data)} bytes) are no stored generative model, or their beginning is "
            "damaged; train again."
        )
    if int(words[1]) > FORMAT_VERSION:
        raise TrainingError(
            f"The stored generative model has format version {words[1]}, newer than the "
            f"{FORMAT_VERSION} that this crysearch reads; upgrade crysearch, or train again."
        )
    if hashlib.sha256(content).hexdigest() != words[2]:
        raise TrainingError(
            f"The stored generative model is damaged ({len(data)} bytes, wrong checksum); restore "
            "it from a copy, or train again."
        )
    text, _, archive = content.partition(b"\n")
    header = json.loads(text)
    if header["name"] != name:
        raise TrainingError(
            f"The stored generative model is a {header['name']!r}, not a {name!r}; load it by its "
            "own name."
        )
    with np.load(io.BytesIO(archive), allow_pickle=False) as members:
        return header, {key: members[key] for key in members.files}
