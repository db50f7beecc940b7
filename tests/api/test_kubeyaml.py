"""YAML as kubectl reads it. The expectations are what kubectl 1.37 printed of the same words."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grovekeeper.api import kubeyaml, raw

WORDS = {
    "yes": True,
    "Off": False,
    "y": True,
    "N": False,
    "True": True,
    "~": None,
    "NULL": None,
    "010": 8,
    "0o10": 8,
    "08": 8,
    "0x1F": 31,
    "0b11": 3,
    "1_000": 1000,
    "-0": 0,
    "1.0": 1,
    "1e3": 1000,
    ".5": 0.5,
    "+.5": 0.5,
    "1:30": "1:30",
    "2024-01-01": "2024-01-01",
    "_1": "_1",
    "=": "=",
    "'5'": "5",
    "!!str 5": "5",
    "!!binary aGVsbG8=": "hello",
    "!own x": "x",
}


@pytest.mark.parametrize(("word", "meaning"), WORDS.items())
def test_words_mean_what_they_mean_to_kubectl(word: str, meaning: raw.Json) -> None:
    found, faults = kubeyaml.documents(f"a: {word}", nulls=True)
    assert faults == []
    assert (found[0].value["a"], type(found[0].value["a"])) == (meaning, type(meaning))


TEXTS = st.text(max_size=12) | st.sampled_from([*WORDS, "", "- a", "a: b", "#", "a\nb\n", " a", "{{ x }}", "null"])
VALUES = st.recursive(
    st.booleans() | st.integers(-(2**40), 2**40) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), VALUES, min_size=1, max_size=4))
def test_what_is_written_reads_back_as_it_was(value: raw.Object) -> None:
    found, faults = kubeyaml.documents(kubeyaml.dumped(value))
    assert (faults, [document.value for document in found]) == ([], [value])


@settings(deadline=None)
@given(st.text(st.sampled_from("ab:- \n\t[]{},&*!|>'\"%#?<\x00é0"), max_size=40))
def test_no_text_is_too_odd_to_be_judged(text: str) -> None:
    found, faults = kubeyaml.documents(text)
    for fault in faults:
        assert 1 <= fault.place[0] <= text.count("\n") + 2
    assert all(() in document.places for document in found)


def test_places_are_those_of_names_and_of_list_entries() -> None:
    found, _ = kubeyaml.documents("a: &x\n  b: [1,\n    2]\nc:\n  <<: *x\n  d: 1\n---\ne: 1\n")
    assert [document.value for document in found] == [{"a": {"b": [1, 2]}, "c": {"b": [1, 2], "d": 1}}, {"e": 1}]
    places = found[0].places
    assert (places["a", "b"], places["a", "b", 1], places["c", "b"], places["c", "d"]) == (
        (2, 3),
        (3, 5),
        (2, 3),
        (6, 3),
    )
    assert found[1].place == (8, 1)


def test_aliases_cannot_make_an_object_larger_than_a_cluster_takes() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    found, faults = kubeyaml.documents("\n".join(lines))
    assert (found, len(faults)) == ([], 1)
    assert "aliases make more than 500000 values" in faults[0].message
