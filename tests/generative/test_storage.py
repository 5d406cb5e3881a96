from __future__ import annotations

import hashlib
import io
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crysearch.errors import TrainingError
from crysearch.generative import create_model, latent_grid, load_model
from crysearch.generative.storage import FORMAT, FORMAT_VERSION, pack, unpack


@pytest.fixture(scope="module")
def stored():
    model = create_model("vae", input_size=8, hidden_layers=(4,), latent_dimension=1)
    model.fit(np.random.default_rng(0).random((10, 8)), seed=0, epochs=3)
    return model.to_bytes()


def resealed(data, **changes):
    """A stored model with header fields changed and the checksum made right again."""
    first, text, archive = data.split(b"\n", 2)
    content = json.dumps({**json.loads(text), **changes}).encode() + b"\n" + archive
    version = first.split()[1].decode()
    return f"{FORMAT} {version} {hashlib.sha256(content).hexdigest()}\n".encode() + content


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_every_damaged_byte_is_noticed(stored, data):
    position = data.draw(st.integers(0, len(stored) - 1))
    changed = bytearray(stored)
    changed[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(TrainingError):
        load_model("vae", bytes(changed))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_no_model(data):
    with pytest.raises(TrainingError, match="no stored generative model"):
        load_model("vae", data)


def test_truncated_and_extended_data(stored):
    for cut in range(0, len(stored), 97):
        with pytest.raises(TrainingError):
            load_model("vae", stored[:cut])
    with pytest.raises(TrainingError, match="wrong checksum"):
        load_model("vae", stored + b"\0")


def test_a_newer_format_asks_for_an_upgrade(stored):
    newer = stored.replace(f"{FORMAT} {FORMAT_VERSION} ".encode(), f"{FORMAT} 2 ".encode(), 1)
    with pytest.raises(TrainingError, match=r"format version 2, newer than the 1 .* upgrade"):
        load_model("vae", newer)


def test_another_models_data(stored):
    with pytest.raises(TrainingError, match="is a 'hvae', not a 'vae'"):
        load_model("vae", resealed(stored, name="hvae"))


def test_weights_that_do_not_fit_the_architecture(stored):
    architecture = json.loads(stored.split(b"\n", 2)[1])["architecture"]
    for changes in (
        {"architecture": architecture | {"latent_dimension": 2}},
        {"architecture": architecture | {"surprise": 1}},
        {"architecture": None},
        {"scaler": {"kind": "global-maximum"}},
    ):
        with pytest.raises(TrainingError, match="does not fit its own architecture"):
            load_model("vae", resealed(stored, **changes))
    assert load_model("vae", resealed(stored)).is_fitted


def test_pickles_are_refused():
    with pytest.raises(TrainingError):
        load_model("vae", pickle.dumps({"a": 1}))
    with pytest.raises(ValueError, match="pickle"):
        pack("vae", {}, {"weights": np.array([{}], dtype=object)})
    buffer = io.BytesIO()
    np.savez(buffer, weights=np.array([{}], dtype=object))
    content = b'{"name": "vae"}\n' + buffer.getvalue()
    seal = f"{FORMAT} {FORMAT_VERSION} {hashlib.sha256(content).hexdigest()}\n".encode()
    with pytest.raises(ValueError, match="allow_pickle"):
        unpack("vae", seal + content)


def test_arrays_keep_every_bit():
    arrays = {"a.b": np.array([0.1, -0.0, 5e-324, 1.7e308]), "c": np.empty((0, 3))}
    header, found = unpack("vae", pack("vae", {"scaler": {"maximum": 0.1}}, arrays))
    assert header == {"name": "vae", "scaler": {"maximum": 0.1}}
    assert {key: value.tobytes() for key, value in found.items()} == {
        key: value.tobytes() for key, value in arrays.items()
    }
    assert found["c"].shape == (0, 3)


def test_another_process_decodes_and_trains_bitwise_the_same(trained, silicon, tmp_path):
    model, _ = trained
    (tmp_path / "model").write_bytes(model.to_bytes())
    np.save(tmp_path / "silicon.npy", silicon)
    code = """
import hashlib, sys
from pathlib import Path
import numpy as np
from crysearch.generative import create_model, latent_grid, load_model
folder = Path(sys.argv[1])
replicas = load_model("vae", (folder / "model").read_bytes()).decode(latent_grid())
fresh = create_model("vae")
fresh.fit(np.load(folder / "silicon.npy"), seed=5, epochs=20)
print(hashlib.sha256(replicas.tobytes()).hexdigest())
print(hashlib.sha256(fresh.to_bytes()).hexdigest())
"""
    run = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True
    )
    fresh = create_model("vae")
    fresh.fit(silicon, seed=5, epochs=20)
    assert run.stdout.split() == [
        hashlib.sha256(data).hexdigest()
        for data in (model.decode(latent_grid()).tobytes(), fresh.to_bytes())
    ]
