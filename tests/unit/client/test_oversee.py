"""Looks beyond the tasks: one that fails does not keep the others from happening."""

from types import SimpleNamespace as Plain

import pytest

from snakemake_executor_azurebatch.errors import AccessRefused
from snakemake_executor_azurebatch.run.judge import Cause
from snakemake_executor_azurebatch.run.oversee import Limits, Overseer, Reactions


def test_a_batch_job_is_looked_at_where_its_nodes_cannot_be():
    def refuse() -> None:
        raise AccessRefused("looking at the nodes: refused", "AuthorizationFailure", 403)

    looks = Plain(in_use=None, nodes=refuse, job_state=lambda: "completed", task_ids=set, why=lambda: None)
    gave_up = []
    overseer = Overseer(looks, Limits(0.0, 60.0, 0.0), Reactions(print, gave_up.append, print))
    with pytest.raises(AccessRefused):
        overseer(frozenset(), 0.0)
    assert [failure.cause for failure in gave_up] == [Cause.JOB_GONE]


def test_a_task_that_is_gone_is_told_of_where_its_pool_cannot_be_looked_at():
    def refuse() -> None:
        raise AccessRefused("looking at the pool: refused", "AuthorizationFailure", 403)

    looks = Plain(in_use=None, nodes=refuse, job_state=lambda: "active", task_ids=lambda: {"there"}, why=refuse)
    gone = []
    overseer = Overseer(looks, Limits(0.0, 60.0, 0.0), Reactions(print, print, gone.append))
    with pytest.raises(AccessRefused):
        overseer(frozenset({"there", "deleted"}), 0.0)
    assert gone == [{"deleted"}]
