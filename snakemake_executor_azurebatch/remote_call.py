"""The remote ``snakemake`` call of a job, as shell text, and the sources that it needs.

``format_job_exec`` of the executor interface makes most of it; here is what has to differ on a node that has
nothing but what was shipped: paths relative to where the task starts, no settings of unused storage plugins,
and flags that make the start lean.
"""

from __future__ import annotations

import functools
import glob
import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from snakemake_executor_azurebatch import git_files
from snakemake_executor_azurebatch.errors import StagingError
from snakemake_executor_azurebatch.jobs import Job
from snakemake_executor_azurebatch.lanes import listed
from snakemake_executor_azurebatch.node import protocol
from snakemake_executor_azurebatch.parse_reads import MAX_FILE_BYTES, PARSE_READS
from snakemake_executor_azurebatch.staging.archive import changed, files_below, is_never_source
from snakemake_executor_azurebatch.storage import Providers

#: Snakemake's Workflow: more of it is used than its interface names.
Workflow = Any

#: A folder behind a link that has more than this is one of data.
MAX_LINKED_BYTES, MAX_LINKED = 50 << 20, 2000


class RemoteCall:
    """Knows the calls of one workflow."""

    #: Stands where ``python`` would; the ``-m snakemake`` that follows is dropped by the runner.
    RUNNER = f'"${protocol.ENV_PYTHON}" "${protocol.ENV_STAGER}" snakemake'

    #: The scheduler of a remote Snakemake has one job: no waiting at its end, no solver.
    LEAN = "--max-jobs-per-timespan 1000/0s --scheduler greedy"

    #: What the controller prints already.
    QUIET = "--quiet progress rules host"

    def __init__(self, workflow: Workflow, start_folder: Path, say: Callable[[str], None]) -> None:
        self._workflow = workflow
        self._start = start_folder
        self._say = functools.cache(say)  # once: sources are asked for again where a checkpoint has changed the jobs
        self._config_args = [str(entry) for entry in workflow.config_settings.config_args or ()]

    @property
    def snakefile(self) -> str:
        """The main Snakefile relative to the folder where the task starts."""
        return self._relative(self._workflow.main_snakefile)

    @property
    def general_args(self) -> str:
        """What comes after Snakemake's own general arguments; the last of an option counts."""
        arguments = [self.LEAN]
        if not self._workflow.output_settings.verbose:
            arguments.append(self.QUIET)
        if self._workflow.overwrite_workdir:
            arguments.append("--directory .")
        if self._workflow.overwrite_configfiles:
            files = " ".join(shlex.quote(self._relative(f)) for f in self._workflow.overwrite_configfiles)
            arguments.append(f"--configfiles {files}")
        if self._workflow.config_settings.replace_workflow_config:
            arguments.append("--replace-workflow-config")  # Snakemake keeps it to itself (seen with 9.27.1)
        if not self._workflow.storage_settings.retrieve_storage:
            arguments.append("--not-retrieve-storage")  # neither does it pass this on
        if Providers(self._workflow).used:
            prefix = self._workflow.storage_settings.local_storage_prefix
            arguments.append(f"--local-storage-prefix {shlex.quote(str(prefix))}")
        if self._config_args:
            arguments.append(shlex.join(["--config", *self._config_args]))
        return " ".join(arguments)

    def finished(self, script: str, job: Job) -> str:
        """The call of ``job``, whole."""
        # Members of a group wait for each other's pipes; a single job's files are there or will never be.
        if job.is_group():
            return script
        if any(getattr(f, "is_storage", False) for f in job.output):
            # It would not store temporary outputs that no other job needs, and the controller's would miss them
            # and end the run (seen with 9.27.1); there they are removed as they should be.
            script = f"{script} --unneeded-temp-files ''"
        return f"{script} --latency-wait 0"

    @contextmanager
    def node_settings(self) -> Iterator[None]:
        """Hide from Snakemake what it must not put on the command line of a job.

        Settings of storage plugins that this workflow does not use: the node may not have them. And ``--config``,
        which it writes as Python literals (seen with 9.27.1): a shell reads other values in them, or none. And
        ``--cache``: the cache is here.
        """
        flow = self._workflow.workflow_settings
        config, settings = self._workflow.config_settings, self._workflow.storage_provider_settings
        config_args, cache = config.config_args, flow.cache
        providers = Providers(self._workflow)
        used = providers.used - set(providers.staged)
        self._workflow.storage_provider_settings = {k: v for k, v in settings.items() if k in used}
        config.config_args = flow.cache = None
        try:
            yield
        finally:
            self._workflow.storage_provider_settings = settings
            config.config_args, flow.cache = config_args, cache

    def sources(self, extra: Iterable[str]) -> list[Path]:
        """Absolute paths of all that a job needs to be parsed and run. Raises StagingError for missing extras."""
        missing = [path for path in extra if not (self._start / path).exists()]
        if missing:
            raise StagingError(f"--azurebatch-extra-files: {', '.join(missing)}: not found in {self._start}")
        made, read = self._made(), self._read_while_parsing()
        # What is tracked and read while parsing is a source also where a job makes it anew.
        found = {path for path in self._listed() if path in read or not _is_in(path, made)} | self._parsed()
        found.update(self._start / path for path in extra)
        found.update(self._scripts())
        found.update(self._wrappers())
        found.update(path for path in read if not _is_in(path, made))
        found.update(_beside_environments(found))
        return sorted(Path(os.path.normpath(path)) for path in found)

    def edited(self, taken: Mapping[str, str]) -> str:
        """What to tell of sources (SHA-256 by path) that are other ones now, and not since a job has made them."""
        found = changed(taken)
        made = self._made() if found else set()
        names = [self._relative(path) for path in found if path not in made]
        if not names:
            return ""
        return (
            f"Changed while this run went on: {listed(names)}. Its jobs, or some of them, had what was there before, "
            "and Snakemake takes results that are newer than a script for current: --forcerun RULE makes them anew."
        )

    def problems(self, job: Job) -> list[str]:
        """Why what the job is made of cannot come to a node: one sentence for each."""
        from snakemake.sourcecache import LocalGitFile
        from snakemake.wrapper import get_path

        sources = list(self._workflow.included)
        if job.rule.wrapper:
            sources.append(get_path(job.rule.wrapper, prefix=self._workflow.workflow_settings.wrapper_prefix))
        return [
            f"{source.get_path_or_uri(secret_free=True)}: is in a git repository of this machine, which a node cannot "
            "read. Give the folder that it is checked out in, or an address that nodes reach."
            for source in sources
            if isinstance(source, LocalGitFile)
        ]

    def _listed(self) -> set[Path]:
        """What Snakemake names as sources: all below the folders of scripts, and what git tracks; without data."""
        with git_files.unasked():
            listed = self._workflow.dag.get_sources() | git_files.tracked(self._say)
        names = {os.path.relpath(path, self._start) for path in listed}
        found = {Path(os.path.normpath(self._start / name)) for name in names if not is_never_source(Path(name).parts)}
        links = {path for path in found if path.is_symlink() and path.is_dir()}
        real = {path.parent.resolve() / path.name for path in found - links} if links else set()
        found = (found - links).union(*(self._behind(link, real) for link in links))
        return found - self._large_inputs(found)

    def _behind(self, link: Path, sources: set[Path]) -> Iterable[Path]:
        """What is in the folder that a link leads to; where that is data, no more than other sources in it."""
        files, size_bytes = [], 0
        for path in map(Path, files_below(str(link))):
            files.append(path)
            size_bytes += _size_bytes(path)
            if size_bytes > MAX_LINKED_BYTES or len(files) > MAX_LINKED:
                self._say(
                    f"{link} leads to more than scripts need, and does not go to the nodes. Give what jobs read there "
                    "as their input, or name it with --azurebatch-extra-files."
                )
                return _through(link, sources)
        return files

    def _large_inputs(self, listed: set[Path]) -> set[Path]:
        """Data that git tracks, or that lies beside scripts: the jobs that need it have it as input."""
        large = {path for path in listed if _size_bytes(path) > MAX_FILE_BYTES}
        if not large:
            return set()
        inputs = {os.path.abspath(f) for job in self._workflow.dag.jobs for f in job.input}  # noqa: PTH100 (many)
        return {path for path in large if _is_in(path, inputs)}

    def _scripts(self) -> Iterator[Path]:
        """Scripts whose names hold wildcards: only the job knows them."""
        for job in self._workflow.dag.jobs:
            path = job.rule.script or job.rule.notebook
            if path and "{" in str(path):
                file = job._path_to_source_file(path)  # noqa: SLF001 (the only place that resolves them)
                yield Path.cwd() / file.get_path_or_uri(secret_free=True)

    def _wrappers(self) -> Iterator[Path]:
        """Folders of wrappers that lie on this machine; the others come from where they are published."""
        from snakemake.sourcecache import LocalSourceFile
        from snakemake.wrapper import get_path, is_script

        prefix = self._workflow.workflow_settings.wrapper_prefix
        for name in {rule.wrapper for rule in self._workflow.rules if rule.wrapper}:
            source = get_path(name, prefix=prefix)
            if isinstance(source, LocalSourceFile):
                path = Path.cwd() / source.get_path_or_uri(secret_free=True)
                yield path.parent if is_script(source) else path

    def _read_while_parsing(self) -> set[Path]:
        """What the Snakefiles' own code has read."""
        snakefile = Path(self._workflow.main_snakefile).absolute()
        folder = snakefile.parent.parent if snakefile.parent.name == "workflow" else snakefile.parent
        return PARSE_READS.below([self._start, folder])

    def _parsed(self) -> set[Path]:
        """Snakefiles and files of configuration on this machine: no job can be parsed without them."""
        from snakemake.sourcecache import LocalSourceFile

        included = [file for file in self._workflow.included if isinstance(file, LocalSourceFile)]
        names = [*self._workflow.configfiles, *(file.get_path_or_uri(secret_free=True) for file in included)]
        return {Path.cwd() / name for name in names}

    def _made(self) -> set[str]:
        """Results of the workflow, as absolute paths. They are no sources, also where git tracks them: each new one
        would be another version of the sources, and no task could be taken over.
        """
        return {
            os.path.abspath(f)  # noqa: PTH100 (there are many)
            for job in self._workflow.dag.jobs
            for f in (*job.output, *job.log, *([job.benchmark] if job.benchmark else []))
        }

    def _relative(self, path: str | Path) -> str:
        return os.path.relpath(path, self._start)


def _is_in(path: Path, made: set[str]) -> bool:
    """Whether a file is one of these, or lies below one."""
    path = Path(os.path.normpath(path))
    return not made.isdisjoint(map(str, (path, *path.parents)))


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _through(link: Path, files: set[Path]) -> Iterator[Path]:
    """These files, as far as they are in the folder that the link leads to, by their names through the link."""
    folder = link.resolve()
    yield from (link / file.relative_to(folder) for file in files if file.is_relative_to(folder))


def _beside_environments(files: Iterable[Path]) -> list[Path]:
    """What Snakemake looks for beside the file of a conda environment: pinned packages, a script to run after it.

    source: Snakemake documentation, "Integrated Package Management".
    """
    stems = {path.with_suffix("") for path in files if path.suffix in {".yaml", ".yml"}}
    return [
        path
        for stem in stems
        for pattern in (".post-deploy.sh", ".*.pin.txt")
        for path in stem.parent.glob(glob.escape(stem.name) + pattern)
    ]
