"""A workflow that Snakemake has built the DAG of, turned into a plan. Nothing is submitted, uploaded or changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakemake_executor_azurebatch.decisions import Decisions, Workflow, units
from snakemake_executor_azurebatch.errors import AzureBatchError
from snakemake_executor_azurebatch.jobs import Job, NeededFile, members
from snakemake_executor_azurebatch.lanes import BATCH, IMAGE_RESOURCE, LANE_RESOURCE, STAGING_RESOURCE, Way
from snakemake_executor_azurebatch.planned.capacities import Offered, offered
from snakemake_executor_azurebatch.planned.uploads import Uploads, uploads_of
from snakemake_executor_azurebatch.pools.choose import Misfit, Placement, place
from snakemake_executor_azurebatch.pools.config import Pools
from snakemake_executor_azurebatch.pools.naming_rules import unused_patterns
from snakemake_executor_azurebatch.pools.needs import (
    GPU_MODEL_RESOURCE,
    GPU_RESOURCE,
    POOL_RESOURCE,
    SPOT_RESOURCE,
    TO_BE_DETERMINED,
    VM_SIZE_RESOURCE,
    read_needs,
)
from snakemake_executor_azurebatch.pools.planning import JobsRow, PlannedJob, PoolRow, job_rows, pool_rows
from snakemake_executor_azurebatch.run.placing import Placing
from snakemake_executor_azurebatch.staging.bybatch import too_many
from snakemake_executor_azurebatch.staging.opened import open_folders
from snakemake_executor_azurebatch.tasks import required_slots

Say = Callable[[str], None]

#: What of a job's resources decides how it travels, and where to.
_WISHES = (LANE_RESOURCE, STAGING_RESOURCE, IMAGE_RESOURCE)
_NEEDS = (
    *("mem_mb", "mem_mib", "disk_mb", "disk_mib", GPU_RESOURCE, GPU_MODEL_RESOURCE),
    *(POOL_RESOURCE, VM_SIZE_RESOURCE, SPOT_RESOURCE),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do."""

    rules: tuple[JobsRow, ...]
    pools: tuple[PoolRow, ...]
    local: dict[str, int]  #: jobs by rule that run in the controller's process
    uploads: Uploads
    checkpoints: tuple[str, ...]  #: rules after which there will be other jobs
    refused: tuple[str, ...]
    notes: tuple[str, ...]


def make_plan(workflow: Workflow, *, may_ask: bool) -> Plan:
    """The plan of a workflow. Raises AzureBatchError where its settings are wrong."""
    notes: list[str] = []
    decide = Decisions(workflow, notes.append)
    needed = list(workflow.dag.needrun_jobs())
    if decide.pools is not None:
        notes += _unused(decide.pools, [str(rule.name) for rule in workflow.rules])
    pools = offered(decide, workflow.remote_execution_settings.container_image, notes.append, may_ask=may_ask)
    if pools.capacities and not pools.capacities[0].has_containers:
        decide.without_containers(pools.capacities[0].pool_id)
    order = {str(rule.name): number for number, rule in enumerate(workflow.rules)}
    tasks = sorted(units(workflow.dag), key=lambda unit: min(order[str(job.rule.name)] for job in members(unit)))
    made = frozenset(str(decide.reader.local(str(f))) for job in needed for f in job.output)
    planner = _Planner(decide, pools, {id(job) for job in workflow.dag.ready_jobs}, made)
    planned = [planner.plan(unit) for unit in tasks]
    return Plan(
        rules=tuple(job_rows(planned)),
        pools=tuple(pool_rows(planned, int(workflow.nodes))),
        local=dict(Counter(str(job.rule.name) for job in needed if job.is_local and job.group is None)),
        uploads=planner.uploads(),
        checkpoints=tuple(dict.fromkeys(str(job.rule.name) for job in needed if job.is_checkpoint)),
        refused=tuple(planner.refused),
        notes=tuple(dict.fromkeys((*notes, *planner.notes))),
    )


def _unused(pools: Pools, rules: list[str]) -> Iterator[str]:
    for pool in pools.pools:
        for pattern in unused_patterns(rules, pool.rules):
            yield f"Note: pool {pool.name} names {pattern!r} in its rules, and no rule of this workflow is called so."


class _Planner:
    """Plans one task after the other, by what a run decides with.

    ``ready``: identities of what Snakemake would hand over first; ``made``: what the run itself makes, as absolute
    paths: it never goes up.
    """

    def __init__(self, decide: Decisions, pools: Offered, ready: set[int], made: frozenset[str]) -> None:
        self._decide = decide
        self._pools = pools
        self._placing = Placing(pools.capacities)
        self._ready = ready
        self._made = made
        self._planned = 0
        self._inputs: list[NeededFile] = []
        self._whole: set[Path] = set()  #: of these, what Azure Batch brings: whole blobs only
        self.refused: dict[str, None] = dict.fromkeys(pools.problems)
        self.notes: dict[str, None] = {}

    def plan(self, unit: Job) -> PlannedJob:
        """One job or group. What speaks against it is among ``refused`` then."""
        self._planned += 1
        for job in members(unit):
            self.refused.update(dict.fromkeys(self._decide.problems(job)))
        is_ready = id(unit) in self._ready
        if is_ready:  # as Snakemake's scheduler does before it hands a job over
            unit.reset_params_and_resources()
        way = self._way(unit, is_ready=is_ready)
        placement, problems = self._place(unit, way)
        self.refused.update(dict.fromkeys(problems))
        self._note_inputs(unit, way)
        rules = tuple(sorted(str(job.rule.name) for job in members(unit)))
        return PlannedJob(
            name=str(unit.groupid) if unit.is_group() else rules[0],
            rules=rules,
            way=way,
            placement=placement,
            is_final=is_ready or not self._waits(unit),
            retries=tuple(self._retries(unit, way, placement)),
        )

    def _note_inputs(self, unit: Job, way: Way) -> None:
        here = [one for one in self._decide.reader.inputs(unit) if str(one.local) not in self._made]
        try:
            inputs = open_folders(one for one in here if one.local.exists()).files if way.staging == BATCH else here
        except AzureBatchError as error:
            inputs = here
            self.refused[str(error)] = None
        self._inputs += inputs
        if way.staging == BATCH:
            self._whole.update(one.local for one in inputs)
        if way.staging == BATCH and (problem := too_many(len(inputs))):
            self.refused[f"rule {unit.rule.name}: {problem}"] = None

    def uploads(self) -> Uploads:
        """What goes up for the tasks that were planned."""
        call = self._decide.call
        try:
            sources = call.sources(self._decide.options.extra_files) if self._planned else []
            return uploads_of(self._inputs, sources, self._whole)
        except AzureBatchError as error:
            self.refused[str(error)] = None
            return Uploads()

    def _way(self, unit: Job, *, is_ready: bool) -> Way:
        if is_ready:
            try:
                return self._decide.ways.choose(unit)[0]
            except AzureBatchError as error:
                self.refused[str(error)] = None
        known = _resources(unit)
        return self._decide.ways.foreseen(unit, known.get)

    def _place(self, unit: Job, way: Way) -> tuple[Placement | None, list[str]]:
        if not self._pools.capacities:
            return None, []
        if self._decide.pools is not None:
            return self._placing.foreseen(unit, way.image)
        (pool,) = self._pools.capacities
        threads = max(1, int(unit.threads))
        needs, _ = read_needs(_name(unit), threads, _resources(unit), way.image)
        if isinstance(misfit := place(needs, [pool]), Misfit):
            self.notes[f"{misfit.text} It goes there nevertheless: there is one pool, and nothing to choose."] = None
        return Placement(needs, pool, required_slots(threads, pool.slots), "the pool of the settings"), []

    def _waits(self, unit: Job) -> bool:
        """Whether anything that was looked at depends on files that are not there yet."""
        names = (*_WISHES, *_NEEDS) if self._decide.pools is not None else _WISHES
        resources = _resources(unit, also_unknown=True)
        return not resources or any(str(resources.get(name)) == TO_BE_DETERMINED for name in names)

    def _retries(self, unit: Job, way: Way, first: Placement | None) -> Iterator[str]:
        """What later attempts would do otherwise than the one before."""
        before = first
        for attempt in range(2, int(unit.restart_times or 0) + 2):
            unit.attempt = attempt
            after, problems = self._place(unit, way)
            if problems:
                yield f"attempt {attempt} is not possible: {' '.join(problems)}"
            elif after is not None and before is not None and _where(after) != _where(before):
                yield f"attempt {attempt}: pool {after.pool.pool}, {after.slots} of {after.pool.slots} slots"
            before = after or before
        unit.attempt = 1


def _where(placement: Placement) -> tuple[str, int]:
    return placement.pool.pool_id, placement.slots


def _name(unit: Job) -> str:
    return str(unit.groupid if unit.is_group() else unit.rule.name)


def _resources(unit: Job, *, also_unknown: bool = False) -> dict[str, Any]:
    """The resources that are known; none where Snakemake cannot tell them yet."""
    from snakemake.exceptions import WorkflowError

    try:
        found = dict(unit.resources.items())
    except WorkflowError:
        return {}
    return {name: value for name, value in found.items() if also_unknown or str(value) != TO_BE_DETERMINED}
