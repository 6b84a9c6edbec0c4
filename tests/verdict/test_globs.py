"""A glob means what `fnmatch.fnmatchcase` says, on many names at once."""

from __future__ import annotations

from fnmatch import fnmatchcase

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tries import examples

from fastcmp.globs import any_glob_mask, glob_mask

# Few letters, so that parts of a glob are found in names, and overlap there.
NAMES = st.lists(st.text("ab.*[\n\\", max_size=8), max_size=12)


@settings(max_examples=examples(400), deadline=None)
@given(st.text("ab.*?[]!\\\n", max_size=8), NAMES)
@example("a*a", ["a", "aa", "aba"])
@example("a*b*a", ["aba", "ab", "abba", "aa"])
@example("*a*a*", ["a", "aa"])
@example("", ["", "a"])
@example("**", [""])
def test_a_glob_matches_what_fnmatch_matches(glob: str, names: list[str]) -> None:
    assert glob_mask(glob, names).tolist() == [fnmatchcase(name, glob) for name in names]


@settings(max_examples=examples(400), deadline=None)
@given(st.lists(st.text("ab*", max_size=3), max_size=3), NAMES)
def test_one_of_several_globs_is_enough_and_none_matches_all(globs: list[str], names: list[str]) -> None:
    expected = [not globs or any(fnmatchcase(name, glob) for glob in globs) for name in names]
    assert any_glob_mask(globs, names).tolist() == expected
