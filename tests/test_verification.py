"""What may be asked of a relaxed structure."""

from __future__ import annotations

from typing import get_args

import pytest

from crysearch.errors import SpecError
from crysearch.verification import Protocol, VerificationSpec
from crysearch.workflows.vasp import PROTOCOLS


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"level": {"engin": "vasp"}}, "level.engin: unknown field"),
        ({"level": {"engine": "gpaw", "protocol": "mp-pbe"}}, "only for the engine 'vasp'"),
        ({"level": {"options": {"a": 1}}}, "name the engine"),
        ({"level": {"protocol": "pbe"}}, "level.protocol: 'pbe'"),
        ({"properties": {"wanted": ["elasticty"]}}, "'elasticty'"),
        ({"properties": {"engine": "level"}}, "level.engine is not given"),
        ({"properties": {"engine": "level"}, "level": {"engine": "vasp"}}, "not calculated with"),
        ({"competing": ["elements"]}, "competing: given, but level.engine is not"),
        ({"properties": {"elasticity": {"strains": [0.2]}}}, "strains"),
    ],
)
def test_what_cannot_be_asked_is_named(content, said):
    with pytest.raises(SpecError) as error:
        VerificationSpec.build(content)
    assert said in str(error.value)


def test_identifiers_follow_what_can_change_the_numbers():
    plain = VerificationSpec.build({})
    espresso = VerificationSpec.build({"level": {"engine": "espresso"}})
    strict = VerificationSpec.build({"level": {"engine": "espresso", "force_tolerance": 0.001}})
    assert len({s.identifier for s in (plain, espresso, strict)}) == 3
    assert espresso.level.identifier != strict.level.identifier
    # Properties with the engine of the search do not care for a further level.
    assert plain.property_identifier("phonons") == strict.property_identifier("phonons")
    assert plain.property_identifier("phonons") != plain.property_identifier("elasticity")
    own = {"properties": {"engine": "level"}}
    first = VerificationSpec.build({**own, "level": {"engine": "espresso"}})
    second = VerificationSpec.build({**own, "level": {"engine": "gpaw"}})
    assert first.property_identifier("phonons") != second.property_identifier("phonons")


def test_a_file_and_its_faults(tmp_path):
    file = tmp_path / "verification.yaml"
    file.write_text("level: {engine: espresso, options: {functional: lda}}\n")
    spec = VerificationSpec.from_yaml(file)
    assert spec.level.options == {"functional": "lda"}
    assert VerificationSpec.build(spec.model_dump(mode="json")) == spec
    file.write_text("level: {engine: [}\n")
    with pytest.raises(SpecError, match="not valid YAML"):
        VerificationSpec.from_yaml(file)
    with pytest.raises(SpecError, match="cannot be read"):
        VerificationSpec.from_yaml(tmp_path / "none.yaml")


def test_the_protocols_are_those_of_the_workflow():
    assert get_args(Protocol) == tuple(PROTOCOLS)
