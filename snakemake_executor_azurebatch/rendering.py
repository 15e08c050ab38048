"""A ``shell:`` job rendered into the commands that Snakemake's local executor would run.

Snakemake turns a rule with ``shell:`` into a function whose body is one call of ``shell``. Here that very function
is called, with a ``shell`` that gives back its text instead of running it: so the rule's own globals (a module's
too), its local names and the expressions beside the text mean what they mean to Snakemake
(seen with snakemake 9.27.1). To be used in the scheduler's thread only.
"""

from __future__ import annotations

import functools
import inspect
import tempfile
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from snakemake_executor_azurebatch.errors import AzureBatchError
from snakemake_executor_azurebatch.lanes import SHELL, JobFacts
from snakemake_executor_azurebatch.node.protocol import Shell

#: Snakemake's Job and Workflow: nothing that mypy knows.
Job = Any
Workflow = Any

#: Where a task's temporary files go, in place of the controller's own folder for them: what Python and so
#: Snakemake find on a node as well, and short enough for the sockets that some programs make there.
NODE_TMPDIR = "/tmp"  # noqa: S108 (the node's, not this machine's)

#: Snakemake's default for ``tmpdir``, an expression: what ``tempfile.gettempdir()`` says (source: Snakemake 9.27.1,
#: ``DefaultResources``). Known without evaluating it for each job.
CONTROLLERS_TMPDIR = "system_tmpdir"

#: source: Snakemake 9.27.1, ``shell``: what numerical libraries are told.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "GOTO_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
TMPDIR_VARIABLES = ("TMPDIR", "TMP", "TEMPDIR", "TEMP")

#: Directives of a rule, by the attribute of Snakemake's Job that tells of them.
_KINDS = (
    ("is_shell", SHELL),
    ("is_script", "script"),
    ("is_notebook", "notebook"),
    ("is_wrapper", "wrapper"),
    ("is_cwl", "cwl"),
    ("is_template_engine", "template_engine"),
    ("is_run", "run"),
)


@dataclass(frozen=True, slots=True)
class Rendered:
    """The commands of one job: one, or one per repetition of a benchmark."""

    texts: tuple[str, ...]
    shells: tuple[Shell, ...]  #: the first whose program is in the image runs them
    tmpdir: str  #: made on the node where it is missing; empty for none
    environment: Mapping[str, str] = field(default_factory=dict)


def read_facts(job: Job, workflow: Workflow, is_staged: Callable[[Any], bool], *, with_params: bool = True) -> JobFacts:
    """What the lane of ``job`` depends on. ``is_staged``: files of storage providers that the stager moves.

    ``with_params`` False: before the job is ready, when its params may be functions of files that are not there.
    """
    if job.is_group():
        return JobFacts(rule=str(job.groupid), is_group=True)
    rule, methods = job.rule, {m.name for m in workflow.deployment_settings.deployment_method}
    files = [*job.input, *job.output, *job.log, *([job.benchmark] if job.benchmark else [])]
    stored = [f for f in files if getattr(f, "is_storage", False)]
    return JobFacts(
        rule=str(rule.name),
        is_group=bool(job.group),
        kind=next((kind for name, kind in _KINDS if getattr(job, name)), "nothing to run"),
        has_own_shell=bool(job.is_shell) and not _calls_snakemakes_shell(rule),
        in_conda="CONDA" in methods and bool(rule.conda_env),
        in_env_modules="ENV_MODULES" in methods and bool(rule.env_modules),
        in_apptainer="APPTAINER" in methods and bool(job.container_img_url),
        has_precommand=bool(workflow.remote_execution_settings.precommand),
        has_extended_benchmark=bool(job.benchmark) and bool(workflow.output_settings.benchmark_extended),
        streams=_flagged(files, "pipe", "service"),
        node_local=_flagged(files, "nodelocal"),
        stored=tuple(str(f) for f in stored if not is_staged(f)),
        staged_from_storage=tuple(str(f) for f in stored if is_staged(f)),
        ensured_in_storage=_flagged(stored, "ensure"),
        from_source_cache=_flagged([*files, *(job.params if with_params else ())], "sourcecache_entry"),
    )


def render(job: Job, workflow: Workflow) -> Rendered:
    """The commands of a ``shell:`` job. Raises AzureBatchError where Snakemake itself could not format them."""
    tmpdir = _node_tmpdir(job)
    resources = _with_tmpdir(job.resources, tmpdir)
    with _resources(job, resources):
        # What was evaluated before did not know the node's folder for temporary files.
        again = any(map(_asks_for_resources, job.rule.params))
        expand = job.rule.expand_params
        params = expand(job.wildcards_dict, job.input, job.output, job)[0] if again else job.params
        iterations = range(job.benchmark_repeats or 1) if job.benchmark else (None,)
        try:
            texts = tuple(_text(job, resources, params, iteration, workflow) for iteration in iterations)
        except Exception as error:
            raise AzureBatchError(f"rule {job.rule.name}: the shell command cannot be formatted: {error}") from error
    environment = dict.fromkeys(THREAD_VARIABLES, str(job.threads))
    environment.update(dict.fromkeys(TMPDIR_VARIABLES, tmpdir) if tmpdir else {})
    return Rendered(texts, _shells(resources.get("shell_exec")), tmpdir, environment)


def uses_source_cache(rendered: Rendered, workflow: Workflow) -> bool:
    """Whether a command names a file that only this process's copy of remote and relative sources holds."""
    return any(cache in text for text in rendered.texts for cache in source_caches(workflow))


def source_caches(workflow: Workflow) -> set[str]:
    """The folders that ``workflow.source_path`` leads to: this machine's, and one of them of this process alone."""
    return {str(workflow.sourcecache.runtime_cache_path), str(workflow.sourcecache.cache_path)}


def _text(job: Job, resources: Any, params: Any, iteration: int | None, workflow: Workflow) -> str:  # noqa: ANN401
    """The text of one call. A command may name any argument of the rule's function."""
    from snakemake.utils import format as snakemake_format

    rule, run = job.rule, job.rule.run_func
    values = {
        "input": _plain(job.input),
        "output": _plain(job.output),
        "params": params,
        "wildcards": job.wildcards,
        "threads": job.threads,
        "resources": resources,
        "log": _plain(job.log),
        "rule": rule.name,
        "singularity_args": workflow.deployment_settings.apptainer_args,
        "use_singularity": False,
        "jobid": job.jobid,
        "is_shell": True,
        "bench_iteration": iteration,
        "cleanup_scripts": workflow.execution_settings.cleanup_scripts,
        "conda_base_path": workflow.conda_base_path,
        "basedir": rule.basedir,
        "sourcecache_path": workflow.sourcecache.cache_path,
        "runtime_sourcecache_path": workflow.sourcecache.runtime_cache_path,
        "runtime_paths": workflow.runtime_paths,
    }
    texts: list[str] = []

    def shell(text: str, *args: Any, bench_record: Any = None, **kwargs: Any) -> None:  # noqa: ANN401
        # Two frames up from the formatter is the rule's function: its globals and its local names are meant.
        texts.append(snakemake_format(text, *args, stepout=2, **kwargs))

    function = types.FunctionType(run.__code__, {**run.__globals__, "shell": shell}, run.__name__, run.__defaults__)
    function(**{name: values.get(name) for name in _arguments(run)})
    return texts[0]


@functools.cache
def _arguments(run: Callable[..., Any]) -> tuple[str, ...]:
    """What a rule's function wants; the same for all jobs of the rule."""
    return tuple(name for name, one in inspect.signature(run).parameters.items() if one.default is one.empty)


def _shells(shell_exec: str | None) -> tuple[Shell, ...]:
    """What Snakemake would start the command with; then ``sh`` for images that have no bash."""
    from snakemake.shell import shell

    executable = str(shell_exec or shell.get_executable() or "sh")
    prefix, suffix = shell._get_process_prefix(executable), shell._process_suffix  # noqa: SLF001 (no public ones)
    if shell_exec is None and executable.rpartition("/")[2] == "bash":
        return _bash_or_sh(prefix, shell._process_prefix or "", suffix)  # noqa: SLF001
    return (Shell(executable, ["-c"], prefix, suffix),)


@functools.cache
def _bash_or_sh(bash_prefix: str, sh_prefix: str, suffix: str) -> tuple[Shell, ...]:
    return Shell("bash", ["-c"], bash_prefix, suffix), Shell("sh", ["-e", "-c"], sh_prefix, suffix)


def _node_tmpdir(job: Job) -> str:
    """The rule's ``tmpdir``; the node's own where it is the controller's default. Empty for none.

    Snakemake leaves it open for jobs that run elsewhere. All others are evaluated, so this one is alone.
    """
    rule = job.rule
    resource = rule.resources.get("tmpdir")
    if resource is not None and resource.is_evaluable() and getattr(resource, "raw", None) == CONTROLLERS_TMPDIR:
        return NODE_TMPDIR
    if resource is not None and resource.is_evaluable():
        known = {"input": job.input, "attempt": job.attempt, "threads": job.threads, "rulename": rule.name}
        use = {"async_run": rule.workflow.async_run, "incomplete_checkpoint_func": lambda _: 0}
        resource = rule.apply_input_function(resource.evaluate, job.wildcards_dict, **known, **use)[0]
    found = resource.value if resource is not None else None
    return NODE_TMPDIR if found == tempfile.gettempdir() else str(found or "")


def _with_tmpdir(resources: Any, tmpdir: str) -> Any:  # noqa: ANN401
    from snakemake.iocontainers import ResourceList

    named = dict(resources.items())
    return ResourceList(fromdict={**named, "tmpdir": tmpdir} if "tmpdir" in named else named)


@contextmanager
def _resources(job: Job, resources: Any) -> Iterator[None]:  # noqa: ANN401
    """Let the job have these for a moment: its params may be functions of them."""
    kept = job._resources  # noqa: SLF001 (there is no other way to hand them to the rule's functions)
    job._resources = resources  # noqa: SLF001
    try:
        yield
    finally:
        job._resources = kept  # noqa: SLF001


def _plain(files: Any) -> Any:  # noqa: ANN401
    """A list of files as a rule's function gets it; one that is empty is so already, and making another is slow."""
    return files._plainstrings() if files else files  # noqa: SLF001 (as Snakemake's own executor does)


def _asks_for_resources(param: Any) -> bool:  # noqa: ANN401
    if not callable(param):
        return False
    try:
        return "resources" in inspect.signature(param).parameters
    except ValueError:  # a function that is not written in Python
        return True


def _calls_snakemakes_shell(rule: Any) -> bool:  # noqa: ANN401
    from snakemake.shell import shell

    return rule.run_func is not None and rule.run_func.__globals__.get("shell") is shell


def _flagged(files: Iterable[Any], *flags: str) -> tuple[str, ...]:
    return tuple(str(f) for f in files if any(flag in (getattr(f, "flags", None) or {}) for flag in flags))
