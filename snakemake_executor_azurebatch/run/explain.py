"""A failure in words: cause, node, exit code, last lines of what it wrote, where its logs are (pure)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from snakemake_executor_azurebatch.amounts import shown_bytes
from snakemake_executor_azurebatch.run.again import Try
from snakemake_executor_azurebatch.run.judge import Cause, Failure

LAST_LINES = 20
SUMMARY_BEGINS = "RuleException:"

#: What to do, by cause; the same words are in ``docs/failures.md``.
ADVICE = {
    Cause.COMMAND: "The last lines of its stderr say why.",
    Cause.OUT_OF_MEMORY: "Ask for more memory (resources: mem_mb), or take a larger VM (--azurebatch-vm-size).",
    Cause.DISK_FULL: "Take a VM with a larger disk (--azurebatch-vm-size), or let the job write less.",
    Cause.TIME_LIMIT: "Raise the rule's resources: runtime.",
    Cause.MISSING_OUTPUT: "The command has to write these files, at these paths relative to the working directory.",
    Cause.NOT_ENSURED: "The command has to leave this file as the rule's ensure() says.",
    Cause.STAGE_IN: "The stager's lines in stderr.txt say which file it was.",
    Cause.STAGE_OUT: "The stager's lines in stderr.txt say what blob storage answered.",
    Cause.BRING_BACK: "Run snakemake again once the disk here, or blob storage, is as it should be.",
    Cause.SETUP: "What is said above names what the image or the node lacks.",
    Cause.IMAGE: "Name an image that exists and runs on the nodes (--container-image, or the rule's container:).",
    Cause.REGISTRY: "Check --azurebatch-registry-server, --azurebatch-registry-username and REGISTRY_PASSWORD.",
    Cause.ACCESS_EXPIRED: "Give --azurebatch-sas-hours more than a task waits for its node, or more nodes.",
    Cause.ACCESS_RAN_OUT: "Give --azurebatch-sas-hours more than the job takes.",
    Cause.NODE_LOST: "Run snakemake again; if it comes back, give the rule a larger VM (--azurebatch-vm-size).",
    Cause.KILLED: "Run snakemake again; if it comes back, it may be short of memory (resources: mem_mb).",
    Cause.PREEMPTED: "Run it on dedicated nodes (--azurebatch-dedicated-nodes).",
    Cause.NOT_SUBMITTED: "What is said above names what to change.",
    Cause.NOT_STARTED: "What Azure Batch says above names what to change.",
    Cause.START_TASK: "Look at the start task's stderr.txt on a node (az batch node file list), and mend it.",
    Cause.UNUSABLE: "Remove these nodes, which cannot be rebooted, or delete the pool: the next run makes a new one.",
    Cause.QUOTA: "Ask for more quota in the Azure portal, or for fewer nodes or another VM size.",
    Cause.ALLOCATION: "Try another VM size or region, or dedicated instead of spot nodes, or wait and run it again.",
    Cause.SCALING: "Mend the pool's formula (az batch pool autoscale enable), or delete the pool.",
    Cause.POOL_GONE: "Run snakemake again: a pool that it names itself is made anew. One of yours has to have nodes.",
    Cause.THROTTLED: "Wait, then run snakemake again; a longer --azurebatch-poll-interval asks less often.",
    Cause.SERVICE: "Check the network and the state of Azure, then run snakemake again.",
    Cause.CREDENTIALS: "Sign in again (az login) or set the right key, then run snakemake again.",
    Cause.CANCELLED: "If that was not meant, run snakemake again.",
    Cause.TASK_GONE: "If that was not meant, run snakemake again.",
    Cause.JOB_GONE: "If that was not meant, run snakemake again.",
    Cause.UNKNOWN: "Run snakemake again; if it comes back, report it with the words above.",
}

#: What a task says that was to deploy software (--sdm) without the program for it. Seen with bash and snakemake 9.27.1.
_NO_DEPLOYMENT = ("conda: command not found", "The apptainer or singularity command has to be available")
_DEPLOYMENT_ADVICE = (
    "What deploys software (--sdm) has to be where tasks run: in the container image (--container-image). "
    "Without --sdm, tasks use the programs that are there."
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was brought back of a failed job. Paths are as the user should see them."""

    saved: Sequence[Path] = ()  #: stdout.txt, stderr.txt
    logs: Sequence[Path] = ()  #: the rule's own ``log:`` files
    stderr_tail: Sequence[str] = ()
    problems: Sequence[str] = ()  #: logs that did not come back, and why
    peak_memory_bytes: int | None = None  #: of its largest process
    memory_asked: str = ""  #: as the rule asks for it


def explain(task_id: str, failure: Failure, evidence: Evidence, tries: Sequence[Try] = ()) -> str:
    """Several lines for the screen, ending in a line break. ``tries``: what came to nothing before."""
    lines = [_headline(task_id, failure)]
    if failure.detail:
        lines += [f"  {line}" for line in failure.detail.splitlines()]
    lines += [f"  Tried before: {one}" for one in tries]
    if evidence.peak_memory_bytes is not None:
        asked = f", {evidence.memory_asked} requested" if evidence.memory_asked else ""
        lines.append(f"Memory of its largest process: {shown_bytes(evidence.peak_memory_bytes)}{asked}.")
    if evidence.stderr_tail:
        lines.append("Last lines of its stderr:")
        lines += [f"  | {line}" for line in evidence.stderr_tail]
    if evidence.saved:
        lines.append("Saved: " + ", ".join(map(str, evidence.saved)))
    if evidence.logs:
        lines.append("Logs: " + ", ".join(map(str, evidence.logs)))
    lines += [f"Not brought back: {problem}" for problem in evidence.problems]
    if any(known in line for line in evidence.stderr_tail for known in _NO_DEPLOYMENT):
        lines.append(_DEPLOYMENT_ADVICE)
    if advice := ADVICE.get(failure.cause):
        lines.append(advice)
    return "\n".join(lines) + "\n"


def tail(text: str, count: int = LAST_LINES) -> list[str]:
    """The last lines of ``text`` that say something, without the stager's own, Snakemake's start and its summary."""
    lines = [line.rstrip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("[stage]")]
    return _before_snakemakes_summary(_after_snakemakes_start(lines))[-count:]


def _after_snakemakes_start(lines: list[str]) -> list[str]:
    """The lines after a remote Snakemake has begun to execute the job."""
    begins = [number for number, line in enumerate(lines, 1) if re.fullmatch(r"Execute \d+ jobs\.\.\.", line)]
    return lines[begins[0] :] if begins else lines


def _before_snakemakes_summary(lines: list[str]) -> list[str]:
    """The lines before a remote Snakemake sums up the failure: what it repeats is on the screen already."""
    if SUMMARY_BEGINS in lines:
        last = len(lines) - 1 - lines[::-1].index(SUMMARY_BEGINS)
        return lines[:last] or lines
    return lines


def _headline(task_id: str, failure: Failure) -> str:
    exit_code = f", exit code {failure.exit_code}" if failure.exit_code else ""
    node = f" on node {failure.node_id}" if failure.node_id else ""
    return f"Task {task_id}{node}: {failure.cause.value}{exit_code}."
