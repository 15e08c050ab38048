"""Packs and reads of packs, as plain numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakemake_executor_azurebatch.node.packing import packs_of, spans_of


@pytest.mark.parametrize(
    ("sizes", "packs"),
    [
        ([], []),
        ([0, 0], [[0, 1]]),
        ([4, 4, 4], [[0, 1], [2]]),
        ([10, 0, 1], [[0, 1], [2]]),
        ([11], [[0]]),
        ([0, 11, 0], [[0], [1], [2]]),
    ],
)
def test_packs_hold_what_they_can(sizes: list[int], packs: list[list[int]]) -> None:
    assert packs_of(sizes, 10) == packs


@given(st.lists(st.integers(0, 20)))
def test_every_file_is_in_one_pack_and_none_is_too_large(sizes: list[int]) -> None:
    packs = packs_of(sizes, 20)
    assert [one for pack in packs for one in pack] == list(range(len(sizes)))
    assert all(sum(sizes[one] for one in pack) <= 20 for pack in packs)


@pytest.mark.parametrize(
    ("wanted", "spans"),
    [
        ([], []),
        ([(0, 3), (3, 2)], [(0, 5, [0, 1])]),
        ([(7, 3), (0, 5)], [(0, 10, [1, 0])]),  # a gap of 2, and any order
        ([(0, 5), (8, 1)], [(0, 5, [0]), (8, 1, [1])]),  # a gap of 3
        ([(4, 0), (4, 6)], [(4, 6, [0, 1])]),  # an empty file
        ([(2, 4), (2, 4)], [(2, 4, [0, 1])]),  # one content, two files
        ([(0, 9), (9, 9)], [(0, 9, [0]), (9, 9, [1])]),  # together more than one read
    ],
)
def test_reads_are_few(wanted: list[tuple[int, int]], spans: list[tuple[int, int, list[int]]]) -> None:
    assert spans_of(wanted, gap=2, most_bytes=10) == spans


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 10))))
def test_every_member_lies_in_the_read_that_brings_it(wanted: list[tuple[int, int]]) -> None:
    spans = spans_of(wanted, gap=5, most_bytes=30)
    assert sorted(one for span in spans for one in span.members) == list(range(len(wanted)))
    for span in spans:
        assert span.size_bytes <= 30
        for start, size_bytes in (wanted[one] for one in span.members):
            assert span.start <= start
            assert start + size_bytes <= span.start + span.size_bytes
