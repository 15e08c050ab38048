"""The way that each job of one workflow takes: read from Snakemake, chosen by ``lanes``, rendered by ``rendering``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from snakemake_executor_azurebatch.errors import AzureBatchError, NotEnsured
from snakemake_executor_azurebatch.lanes import (
    IMAGE_RESOURCE,
    LANE_RESOURCE,
    SHELL,
    STAGING_RESOURCE,
    Defaults,
    Images,
    Way,
    Wishes,
    choose_way,
)
from snakemake_executor_azurebatch.rendering import Rendered, read_facts, render, uses_source_cache

#: Snakemake's Job, Workflow and IOFile: nothing that mypy knows.
Job = Any
Workflow = Any


class Ways:
    """Chooses for the jobs of one workflow, in the scheduler's thread.

    ``is_staged`` tells the files of storage providers that the stager moves.
    """

    def __init__(self, workflow: Workflow, defaults: Defaults, is_staged: Callable[[Any], bool]) -> None:
        self._workflow = workflow
        self._defaults = defaults
        self._is_staged = is_staged
        #: the image of the run; None once it is known that the pool runs no containers
        self.image: str | None = workflow.remote_execution_settings.container_image

    def problems(self, job: Job) -> list[str]:
        """Why a job cannot go the way that its rule or the settings wish for; before anything is submitted.

        Wishes that are functions, and params, are not looked at yet: they may need files that other jobs make.
        """
        refusal = self.foreseen(job).refusal
        return [refusal] if refusal else []

    def foreseen(self, job: Job, resource: Callable[[str], Any] | None = None) -> Way:
        """The way of a job that may not be ready yet. ``resource``: gives those that are known, else the written ones.

        A group has to come with its resources.
        """
        facts = read_facts(job, self._workflow, self._is_staged, with_params=False)
        wishes = self._wishes(resource or (lambda name: _written(job.rule.resources.get(name))))
        return choose_way(facts, wishes, self._images(job))

    def images(self, jobs: Iterable[Job]) -> tuple[str, ...]:
        """The images that jobs are going to run in, beside that of the run, as far as they are known by now."""
        found: dict[str, None] = {}
        for job in jobs:
            if not job.is_local and self._may_have_own_image(job):
                way = self.foreseen(job)
                if way.image and way.image != self.image and not way.refusal:
                    found[way.image] = None
        return tuple(sorted(found))

    def _may_have_own_image(self, job: Job) -> bool:
        return self._defaults.use_rule_containers or (not job.is_group() and IMAGE_RESOURCE in job.rule.resources)

    def choose(self, job: Job) -> tuple[Way, Rendered | None]:
        """The way of a job that is ready, and its commands where they are rendered. Raises AzureBatchError."""
        try:
            return self._choose(job)
        except AzureBatchError:
            raise
        except Exception as error:  # the workflow's own functions run here
            name = job.groupid if job.is_group() else job.rule.name
            raise AzureBatchError(f"rule {name}: its command could not be worked out: {error}") from error

    def _choose(self, job: Job) -> tuple[Way, Rendered | None]:
        facts = read_facts(job, self._workflow, self._is_staged)
        wishes, images = self._wishes(job.resources.get), self._images(job)
        way, rendered = choose_way(facts, wishes, images), None
        if way.lane == SHELL and not way.refusal:
            rendered = render(job, self._workflow)
            if uses_source_cache(rendered, self._workflow):
                facts = replace(facts, from_source_cache=(*facts.from_source_cache, "in its command"))
                way, rendered = choose_way(facts, wishes, images), None
        if way.refusal:
            raise AzureBatchError(way.refusal)
        return way, rendered

    def _wishes(self, resource: Callable[[str], Any]) -> Wishes:
        return Wishes(
            lane=str(resource(LANE_RESOURCE) or self._defaults.lane),
            staging=str(resource(STAGING_RESOURCE) or self._defaults.staging),
            image=resource(IMAGE_RESOURCE) or None,
        )

    def _images(self, job: Job) -> Images:
        named = None if job.is_group() else job.container_img_url
        return Images(self.image, str(named) if named else None, self._defaults.use_rule_containers)


def check_ensured(job: Job, workflow: Workflow) -> None:
    """Whether outputs are what ``ensure()`` demands, once they are here. Raises NotEnsured."""
    from snakemake.exceptions import WorkflowError

    ensured = [f for f in job.output if "ensure" in (getattr(f, "flags", None) or {}) and Path(f).exists()]
    if not ensured:
        return
    try:
        workflow.async_run(workflow.dag.handle_ensure(job, ensured))
    except WorkflowError as error:
        raise NotEnsured(str(error)) from error


def _written(resource: Any) -> Any:  # noqa: ANN401
    """The value of a resource that stands in the rule as it is."""
    return None if resource is None or resource.is_evaluable() else resource.value
