"""Which way a job takes (pure): who runs its command, in which image, and who moves its files.

lane     shell      the rendered command runs as it is: nothing of Snakemake is in the task
         snakemake  the task runs Snakemake, told by the controller what the job reads and writes
staging  stager     our program on the node, which needs a Python in the image
         batch      Azure Batch itself moves the files, and a shell script does the rest

Every choice carries its reason, and a wish that cannot be met carries a refusal: one sentence for the user.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

AUTO = "auto"
SHELL, SNAKEMAKE = "shell", "snakemake"
STAGER, BATCH = "stager", "batch"

LANES = (AUTO, SHELL, SNAKEMAKE)
STAGINGS = (AUTO, STAGER, BATCH)

#: Resources of a rule that wish for something.
LANE_RESOURCE = "azurebatch_lane"
STAGING_RESOURCE = "azurebatch_staging"
IMAGE_RESOURCE = "azurebatch_image"

#: How Snakemake marks images of a registry. Others (``shub://``, ``library://``, files) are no images for Batch.
REGISTRY_PREFIX = "docker://"

#: Named in a reason, before it goes on with "and N more".
NAMED_AT_MOST = 3


@dataclass(frozen=True, slots=True)
class JobFacts:
    """What the lane of a job depends on."""

    rule: str
    kind: str = SHELL  #: the directive that the rule runs: shell, run, script, notebook, wrapper, cwl, ...
    is_group: bool = False
    has_own_shell: bool = False  #: the Snakefile gives the name ``shell`` another meaning
    in_conda: bool = False  #: ``conda:`` with --sdm conda
    in_env_modules: bool = False  #: ``envmodules:`` with --sdm env-modules
    in_apptainer: bool = False  #: ``container:`` with --sdm apptainer
    has_precommand: bool = False  #: --precommand
    has_extended_benchmark: bool = False  #: ``benchmark:`` with --benchmark-extended
    streams: tuple[str, ...] = ()  #: files of pipe() and service()
    node_local: tuple[str, ...] = ()  #: files of nodelocal()
    stored: tuple[str, ...] = ()  #: files that a storage plugin moves, in the task
    staged_from_storage: tuple[str, ...] = ()  #: files of a storage provider that the stager moves
    ensured_in_storage: tuple[str, ...] = ()  #: outputs with ensure() in a storage provider
    from_source_cache: tuple[str, ...] = ()  #: inputs and params made by ``workflow.source_path``


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a rule's resources or, without them, the settings ask for."""

    lane: str = AUTO
    staging: str = AUTO
    image: str | None = None


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds for rules that say nothing: the settings."""

    lane: str = AUTO
    staging: str = AUTO
    use_rule_containers: bool = False


@dataclass(frozen=True, slots=True)
class Images:
    """The images that a job may run in."""

    default: str | None  #: the run's own; None on a pool without containers
    rule: str | None = None  #: ``container:`` of the rule
    use_rule: bool = False  #: --azurebatch-rule-containers


@dataclass(frozen=True, slots=True)
class Way:
    """How a job travels. A ``refusal`` says why it cannot."""

    lane: str
    lane_reason: str
    staging: str = STAGER
    staging_reason: str = ""
    image: str | None = None
    image_reason: str = ""
    refusal: str = ""


def choose_way(facts: JobFacts, wishes: Wishes, images: Images) -> Way:
    """Lane, image and staging of one job, each with its reason."""
    lane, lane_reason, refusal = _lane(facts, wishes.lane)
    image, image_reason, no_image = _image(facts, wishes.image, images)
    staging, staging_reason, no_staging = _staging(facts, wishes.staging, lane, own_image=image != images.default)
    return Way(
        lane, lane_reason, staging, staging_reason, image, image_reason, refusal=refusal or no_image or no_staging
    )


def needs_snakemake(facts: JobFacts) -> tuple[str, ...]:
    """Why this job needs Snakemake around its command; empty where it does not."""
    return tuple(_needs(facts))


def _needs(facts: JobFacts) -> Iterator[str]:
    if facts.is_group:
        yield "it is a group of jobs"
    elif facts.kind != SHELL:
        yield f"it has no shell command (its rule has {facts.kind})"
    flags = (
        (facts.has_own_shell, "the Snakefile gives the name 'shell' another meaning"),
        (facts.in_conda, "it runs in a conda environment (--sdm conda)"),
        (facts.in_env_modules, "it loads environment modules (--sdm env-modules)"),
        (facts.in_apptainer, "it runs in apptainer (--sdm apptainer)"),
        (facts.has_precommand, "there is a --precommand"),
        (facts.has_extended_benchmark, "its benchmark is an extended one (--benchmark-extended)"),
    )
    yield from (sentence for is_so, sentence in flags if is_so)
    files = (
        (facts.streams, "it has files that exist only while jobs run (pipe or service)"),
        (facts.node_local, "it has files that stay on the node (nodelocal)"),
        (facts.stored, "a storage plugin moves files of it, in the task"),
        (facts.ensured_in_storage, "ensure() of files in storage is checked in the task"),
        (facts.from_source_cache, "it uses workflow.source_path"),
    )
    yield from (f"{sentence}: {listed(names)}" for names, sentence in files if names)


def _lane(facts: JobFacts, wished: str) -> tuple[str, str, str]:
    """Lane, reason, refusal."""
    if wished not in LANES:
        return SNAKEMAKE, "", _unknown(facts, LANE_RESOURCE, wished, LANES)
    if wished == SNAKEMAKE:
        return SNAKEMAKE, "asked for", ""
    needs = needs_snakemake(facts)
    if not needs:
        return SHELL, "asked for" if wished == SHELL else "a shell command that needs nothing of Snakemake", ""
    reason = "; ".join(needs)
    refusal = f"rule {facts.rule}: {LANE_RESOURCE}=shell is not possible: {reason}." if wished == SHELL else ""
    return SNAKEMAKE, reason, refusal


def _image(facts: JobFacts, wished: str | None, images: Images) -> tuple[str | None, str, str]:
    """Image, reason, refusal."""
    named, reason = (wished, IMAGE_RESOURCE) if wished else (images.rule if images.use_rule else None, "container:")
    if not named:
        return images.default, "of the run" if images.default else "the pool runs no containers", ""
    image = named.removeprefix(REGISTRY_PREFIX)
    if "://" in image or image.endswith((".sif", ".img")):
        return None, "", f"rule {facts.rule}: {named!r} ({reason}) is not an image of a container registry."
    if images.default is None:
        return (
            None,
            "",
            f"rule {facts.rule}: {named!r} ({reason}) needs a pool that runs containers.",
        )
    return image, reason, ""


def _staging(facts: JobFacts, wished: str, lane: str, *, own_image: bool) -> tuple[str, str, str]:
    """Staging, reason, refusal."""
    if wished not in STAGINGS:
        return STAGER, "", _unknown(facts, STAGING_RESOURCE, wished, STAGINGS)
    if lane == SNAKEMAKE:
        refusal = (
            f"rule {facts.rule}: {STAGING_RESOURCE}=batch is for rendered shell commands only, and this job runs "
            "Snakemake in its task."
        )
        return STAGER, "Snakemake needs Python in any case", refusal if wished == BATCH else ""
    if facts.staged_from_storage:
        named = listed(facts.staged_from_storage)
        refusal = f"rule {facts.rule}: {STAGING_RESOURCE}=batch cannot move files of a storage provider: {named}."
        return STAGER, "it has files of a storage provider", refusal if wished == BATCH else ""
    if wished != AUTO:
        return wished, "asked for", ""
    if own_image:
        return BATCH, "an image of its own, which may have no Python", ""
    return STAGER, "the image of the run", ""


def _unknown(facts: JobFacts, resource: str, value: str, known: tuple[str, ...]) -> str:
    return f"rule {facts.rule}: resource {resource} is {value!r}; it can be {', '.join(known)}."


def listed(names: Sequence[str]) -> str:
    """Names as one text, the first ones named."""
    more = len(names) - NAMED_AT_MOST
    return ", ".join(names[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
