"""Ids and names stay inside the limits of the services, and apart from each other."""

import re

from hypothesis import given
from hypothesis import strategies as st

from snakemake_executor_azurebatch.naming import batch_id, container_name, short_hash, task_id

BATCH_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
CONTAINER = re.compile(r"(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*")


@given(st.text(), st.text())
def test_any_text_makes_a_valid_batch_id(readable, identity):
    assert BATCH_ID.fullmatch(batch_id(readable, identity))


@given(st.text(min_size=1))
def test_any_folder_makes_a_valid_container_name(folder):
    assert CONTAINER.fullmatch(container_name("/home/" + folder))


def test_a_task_id_can_be_read():
    assert task_id("align", {"sample": "a1", "lane": "2"}, "work", 1).startswith("align-2-a1-")


def test_a_long_rule_name_is_cut_and_stays_apart():
    one, other = (task_id("r" * 100 + end, {}, "work", 1) for end in "ab")

    assert (len(one), len(other)) == (64, 64)
    assert one != other


def test_attempts_are_tasks_of_their_own():
    assert task_id("a", {}, "work", 1) != task_id("a", {}, "work", 2)


def test_the_same_work_has_the_same_id_until_its_task_has_ended():
    assert task_id("a", {}, "work", 1) == task_id("a", {}, "work", 1)
    assert task_id("a", {}, "work", 1) != task_id("a", {}, "work", 1, generation=1)
    assert task_id("a", {}, "work", 1) != task_id("a", {}, "other", 1)


def test_parts_are_not_joined():
    assert short_hash("ab", "c") != short_hash("a", "bc")
