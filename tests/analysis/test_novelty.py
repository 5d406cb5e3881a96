from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crysearch.analysis import ReferenceMatch, match_references
from crysearch.errors import AnalysisError
from crysearch.fingerprints import pearson_distance


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 10_000))
def test_known_crystals_are_recognised(seed, silicon, fingerprint, disguise):
    names = ["mp-165", "mp-168", "mp-571520", "mp-149"]
    references = [silicon[name] for name in names]
    structures = [disguise(reference, seed + k, 0.01) for k, reference in enumerate(references)]
    matches = match_references(
        structures, fingerprint(structures), references, fingerprint(references)
    )
    assert [match.matched for match in matches] == [0, 1, 2, 3]
    assert [match.nearest for match in matches] == [0, 1, 2, 3]
    assert not any(match.is_new for match in matches)


def test_a_new_crystal_has_a_nearest_reference(published, silicon, fingerprint):
    structures = [published["C2/m*"]]
    references = [silicon["mp-149"], published["C2/m"], silicon["mp-168"]]
    prints, reference_prints = fingerprint(structures), fingerprint(references)
    (match,) = match_references(structures, prints, references, reference_prints)
    assert match.is_new
    assert match.nearest == 1
    # The distance that the paper prints for this pair is 0.102.
    assert match.nearest_distance == pytest.approx(0.102, abs=0.003)
    assert match.nearest_distance == pytest.approx(pearson_distance(prints[0], reference_prints[1]))


def test_the_matched_reference_need_not_be_the_nearest(silicon, fingerprint):
    """A fingerprint closer to another crystal does not hide the true match."""
    diamond, lonsdaleite = silicon["mp-149"], silicon["mp-165"]
    prints = fingerprint([diamond, lonsdaleite])
    between = 0.4 * prints[:1] + 0.6 * prints[1:]
    (match,) = match_references([diamond], between, [diamond, lonsdaleite], prints)
    assert (match.matched, match.nearest) == (0, 1)


def test_energies_count_only_if_both_are_given(silicon, fingerprint):
    one = [silicon["mp-149"]]
    prints = fingerprint(one)

    def matched(energies, reference_energies):
        return match_references(one, prints, one, prints, energies, reference_energies)[0].matched

    assert matched([-5.0], [-5.2]) is None
    assert matched([-5.0], [-5.001]) == 0
    assert matched([-5.0], None) == 0


def test_without_references_everything_is_new(silicon, fingerprint):
    one = [silicon["mp-149"]]
    matches = match_references(one, fingerprint(one), [], np.empty((0, 200)))
    assert matches == [ReferenceMatch(None, None, None)]
    assert matches[0].is_new
    assert match_references([], np.empty((0, 200)), one, fingerprint(one)) == []


def test_progress_and_bad_input(silicon, fingerprint):
    structures = [silicon["mp-149"], silicon["mp-165"]]
    prints = fingerprint(structures)
    seen: list[int] = []
    match_references(structures, prints, structures, prints, progress=seen.append)
    assert sum(seen) == 2
    with pytest.raises(AnalysisError, match="references: 2 structures"):
        match_references(structures, prints, structures, prints[:1])
