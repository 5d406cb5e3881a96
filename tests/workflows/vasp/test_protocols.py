"""Protocols by name, and that the makers of the Materials Project are atomate2's."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("atomate2", reason="pip install 'crysearch[vasp]'")

from atomate2.vasp.flows.mp import MPGGADoubleRelaxStaticMaker, MPMetaGGADoubleRelaxStaticMaker

from crysearch.errors import VaspError
from crysearch.workflows.vasp import PROTOCOLS, get_protocol, protocols
from crysearch.workflows.vasp.protocols import STEPS, maker_of


def test_every_scheme_is_its_own():
    assert set(PROTOCOLS) == {"lda", "lda-64", "mp-pbe", "mp-r2scan"}
    assert len({protocol.scheme for protocol in PROTOCOLS.values()}) == len(PROTOCOLS)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_potentials_of_a_protocol_are_those_of_its_makers(name):
    protocol = get_protocol(name)
    for step in STEPS:
        maker = maker_of(protocol, step)
        assert maker.input_set_generator.user_potcar_functional == protocol.potentials
        assert maker.name == f"{name} {step}"


@pytest.mark.parametrize(
    ("name", "flow"),
    [("mp-pbe", MPGGADoubleRelaxStaticMaker()), ("mp-r2scan", MPMetaGGADoubleRelaxStaticMaker())],
)
def test_the_materials_project_s_makers_are_atomate2_s(name, flow):
    theirs = [flow.relax_maker.relax_maker1, flow.relax_maker.relax_maker2, flow.static_maker]
    for step, maker in zip(STEPS, theirs, strict=True):
        ours = maker_of(get_protocol(name), step)
        assert type(ours) is type(maker)
        assert ours.copy_vasp_kwargs == maker.copy_vasp_kwargs
        expected = dict(maker.input_set_generator.user_incar_settings)
        if step == "static":
            expected["IBRION"] = -1
        assert ours.input_set_generator.user_incar_settings == expected


def test_makers_do_not_share_what_a_user_changes():
    protocol = get_protocol("mp-pbe")
    maker_of(protocol, "static", {"ENCUT": 700})
    assert "ENCUT" not in maker_of(protocol, "static").input_set_generator.user_incar_settings


def test_changed_tags_make_a_scheme_unless_they_are_technical():
    lda = get_protocol("lda")
    assert lda.scheme_with(None) == lda.scheme_with({"NCORE": 4, "ALGO": "Fast"}) == "vasp:lda"
    assert lda.scheme_with({"ENCUT": 700, "KPAR": 2}) == "vasp:lda with ENCUT=700"


def test_an_unknown_protocol_and_a_missing_package(monkeypatch):
    with pytest.raises(VaspError, match="protocol: 'pbe' — choose one of lda, lda-64, mp-pbe"):
        get_protocol("pbe")
    monkeypatch.setattr(protocols, "find_spec", lambda name: None)
    with pytest.raises(VaspError, match=r"atomate2 and custodian: run pip install 'crysearch\["):
        maker_of(get_protocol("lda"), "static")


def test_who_submits_needs_no_atomate2():
    code = "import sys, crysearch.workflows.vasp as _; print('atomate2' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
