from __future__ import annotations

import pytest

from crysearch.errors import TrainingError
from crysearch.generative import available_models, create_model, load_model


def test_unknown_names_say_what_is_known(small):
    assert available_models() == ("vae", "hvae")
    for call in (lambda: create_model("gan"), lambda: load_model("gan", b"")):
        with pytest.raises(TrainingError, match="'gan' is unknown; choose one of: vae"):
            call()


def test_unknown_arguments_say_what_is_known():
    with pytest.raises(TrainingError, match="takes no depth, width; it takes: input_size, hidden"):
        create_model("vae", depth=3, width=2)
