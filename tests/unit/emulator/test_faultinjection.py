"""Rules of faults: which requests and nodes they strike."""

import pytest

from snakemake_executor_azurebatch.emulator.faultinjection import KINDS, FaultInjection


def injection(*bodies):
    made = FaultInjection()
    for body in bodies:
        made.add(made.new_rule(body))
    return made


def kinds(rules):
    return [rule.kind for rule in rules]


def test_method_route_and_endpoint_choose_the_requests():
    made = injection(
        {"kind": "error", "route": "/jobs/*", "method": "get"},
        {"kind": "reset", "route": "/jobs"},
        {"kind": "latency", "endpoint": "blob"},
    )
    assert kinds(made.of_request("GET", "/jobs/{jobId}/tasks")) == ["error"]
    assert kinds(made.of_request("POST", "/jobs/{jobId}/tasks")) == []
    assert kinds(made.of_request("POST", "/jobs")) == ["reset"]
    assert kinds(made.of_blob_request("PUT", "/account/container/blob")) == ["latency"]


def test_a_count_is_used_up():
    made = injection({"kind": "error", "count": 2})
    assert [kinds(made.of_request("GET", "/pools")) for _ in range(3)] == [["error"], ["error"], []]
    assert made.rules() == []


def test_the_same_seed_strikes_the_same_requests_whatever_other_rules_do():
    alone = injection({"kind": "error", "rate": 0.5, "seed": 4})
    beside = injection({"kind": "latency", "rate": 0.5, "seed": 9}, {"kind": "error", "rate": 0.5, "seed": 4})
    struck = [["error" in kinds(made.of_request("GET", "/pools")) for _ in range(50)] for made in (alone, beside)]
    assert struck[0] == struck[1]
    assert 10 < sum(struck[0]) < 40


def test_a_refusal_is_no_failure_of_a_task():
    made = injection({"kind": "task-failure", "code": "DiskFull"}, {"kind": "refuse", "code": "PoolBeingDeleted"})
    assert made.code_of_node("p", "n") == "DiskFull"


def test_node_faults_by_pool_and_node():
    made = injection({"kind": "disk-full", "pool": "P"}, {"kind": "blob-unreachable", "node": "n"})
    assert made.of_node("p", "m") == {"disk-full"}
    assert made.of_node("q", "n") == {"blob-unreachable"}


def test_what_acts_once_leaves_nothing_and_chooses_as_many_as_there_are():
    made = FaultInjection()
    rule = made.new_rule({"kind": "kill", "count": 2, "seed": 1})
    made.add(rule)
    assert made.rules() == []
    assert len(made.choose(rule, ["a", "b", "c"])) == 2
    assert made.choose(rule, ["a"]) == ["a"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_rule_shows_what_it_takes_and_can_be_made_again_from_that(kind):
    made = FaultInjection()
    shown = made.new_rule({"kind": kind}).shown()
    assert set(shown) == {"id", "kind", *KINDS[kind].takes}
    del shown["id"]
    assert made.new_rule(shown).kind == kind


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (None, "kind is one of"),
        ({"kind": "error", "rate": True}, "rate is a float, not True"),
        ({"kind": "error", "count": -1, "rate": 2}, "rate is greater than 0 and at most 1; count"),
        ({"kind": "error", "endpoint": "table"}, "endpoint is batch or blob"),
        ({"kind": "latency", "seconds": -1}, "seconds are not negative"),
    ],
)
def test_every_problem_is_told(body, words):
    with pytest.raises(ValueError, match="^" + words):
        FaultInjection().new_rule(body)
