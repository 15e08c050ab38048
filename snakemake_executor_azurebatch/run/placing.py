"""Places the jobs of one workflow on the pools of ``pools.yaml``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from snakemake_executor_azurebatch.errors import AzureBatchError
from snakemake_executor_azurebatch.jobs import JobRequest, Share, members
from snakemake_executor_azurebatch.pools.choose import Capacity, Misfit, Placement, place
from snakemake_executor_azurebatch.pools.needs import Resources, read_needs

#: Snakemake's Job: nothing that mypy knows.
Job = Any

#: What the stager and, where it runs, Snakemake take beside the rule's own command.
OVERHEAD_MIB = 512


class Placing:
    """Without capacities there is nothing to choose: jobs stay as they are."""

    def __init__(self, capacities: Sequence[Capacity]) -> None:
        self._capacities = capacities

    def check(self, jobs: Iterable[Job]) -> Mapping[str, Sequence[int]]:
        """The slots of the tasks that will come to each pool. Raises AzureBatchError, telling all that cannot be.

        ``jobs``: single ones, and groups. Resources that need files which are not there yet are taken for small
        ones; they are looked at again when their job is ready.
        """
        expected: dict[str, list[int]] = defaultdict(list)
        problems: dict[str, None] = {}
        for job in jobs:
            found, wrong = self.foreseen(job)
            problems.update(dict.fromkeys(wrong))
            if found is not None:
                expected[found.pool.pool].append(found.slots)
        if problems:
            raise AzureBatchError("\n".join(["These jobs fit on none of the pools:", *problems]))
        return expected

    def foreseen(self, job: Job, image: str | None = None) -> tuple[Placement | None, list[str]]:
        """Where a job or a group is going to, as far as that is known by now, and what is wrong."""
        from snakemake.exceptions import WorkflowError

        name = str(job.groupid if job.is_group() else job.rule.name)
        try:
            resources, threads = dict(job.resources.items()), int(job.threads)
        except WorkflowError:  # Snakemake says it better, when the job is ready
            return None, []
        return self.find(name, threads, resources, image, [str(job.rule.name) for job in members(job)])

    def placed(self, request: JobRequest) -> JobRequest:
        """The request with its share of a node. Raises AzureBatchError where there is no node for it."""
        if not self._capacities:
            return request
        image = request.way.image if request.way else None
        rules = [str(member["rule"]) for member in request.members]
        found, problems = self.find(request.name, request.threads, request.resources, image, rules)
        if found is None:
            raise AzureBatchError("\n".join(problems))
        return replace(request, share=share_of(found))

    def find(
        self, name: str, threads: int, resources: Resources, image: str | None, rules: Iterable[str] = ()
    ) -> tuple[Placement | None, list[str]]:
        """Where a job of these rules goes; or None, and why."""
        needs, problems = read_needs(name, threads, resources, image, rules)
        found = place(needs, self._capacities)
        if isinstance(found, Misfit):
            problems.append(found.text)
        return None if problems or isinstance(found, Misfit) else found, problems


def share_of(placement: Placement) -> Share:
    """What a job gets where it is placed: slots, and its container no more than it has asked for.

    source: documentation of docker, "Runtime options with Memory, CPUs, and GPUs".
    """
    limits = []
    if placement.pool.has_limits:
        limits.append(f"--cpus {placement.needs.cores}")
        if placement.memory_mib is not None:
            limits.append(f"--memory {placement.memory_mib + OVERHEAD_MIB}m")
    return Share(placement.pool.pool, placement.slots, " ".join(limits), placement.why)
