"""The executor that Snakemake sees: it translates between Snakemake and a Run, and does nothing else.

Facts about Snakemake that shape it (source: snakemake 9.27, snakemake-interface-executor-plugins 9.4):
the waiting thread starts before ``__post_init__``; the executor is made even when nothing is to be done;
an exception out of ``check_active_jobs`` ends the run without cancelling; ``cancel_jobs`` may be given an
empty list while jobs are alive; a job that is reported twice breaks the scheduler; reports may come from
any thread.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.real import RealExecutor
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.logging import LoggerExecutorInterface

from snakemake_executor_azurebatch.daemons import within
from snakemake_executor_azurebatch.decisions import Decisions, units
from snakemake_executor_azurebatch.detach import Asked, Detacher
from snakemake_executor_azurebatch.errors import AzureBatchError
from snakemake_executor_azurebatch.events import event
from snakemake_executor_azurebatch.interrupts import Interrupts
from snakemake_executor_azurebatch.jobs import Job, JobRequest, members
from snakemake_executor_azurebatch.naming import batch_id, short_hash
from snakemake_executor_azurebatch.output_cache import OutputCache
from snakemake_executor_azurebatch.pools.catalogue import bundled
from snakemake_executor_azurebatch.remote_call import RemoteCall
from snakemake_executor_azurebatch.resumed import cut_off, versions_of
from snakemake_executor_azurebatch.rounds import one_round
from snakemake_executor_azurebatch.run.fingerprint import work_of_one
from snakemake_executor_azurebatch.run.moving import ToDedicated
from snakemake_executor_azurebatch.run.placing import Placing
from snakemake_executor_azurebatch.run.records import shown
from snakemake_executor_azurebatch.run.reporting import Reports
from snakemake_executor_azurebatch.run.run import Run
from snakemake_executor_azurebatch.run.runs import Runs
from snakemake_executor_azurebatch.run.session import Place, Session, open_session
from snakemake_executor_azurebatch.run.several import Several, open_several
from snakemake_executor_azurebatch.run.summary import Tally
from snakemake_executor_azurebatch.run.waker import Waker
from snakemake_executor_azurebatch.staging.archive import SourceArchive, build_archive
from snakemake_executor_azurebatch.ways import check_ensured

#: Snakemake's Workflow: more of it is used than its interface names.
Workflow = Any

STATE_DIR = Path(".snakemake/azurebatch")

#: How often the waiting thread looks which jobs were reported: it looks at all, so not after each of them.
FORGET_EVERY_S = 10.0

#: How long after Ctrl-C a run cleans up, where Azure does not answer; and how long at the least.
CLOSE_PATIENCE_S, CLOSE_AT_LEAST_S = 12.0, 2.0


class Executor(RemoteExecutor):
    """``--executor azurebatch``."""

    workflow: Workflow
    logger: logging.Logger  # type: ignore[assignment]  # declared as less than it is (source: snakemake 9.27)

    def __init__(self, workflow: Workflow, logger: LoggerExecutorInterface) -> None:
        self._waker = Waker()
        self._infos: dict[str, SubmittedJobInfo] = {}
        self._infos_lock = threading.Lock()
        self._keys: dict[Job, str] = {}  #: of jobs whose end Snakemake has not taken yet
        self._run: Run | Runs | None = None
        self._detacher: Detacher | None = None
        self._handed_over_s = time.monotonic()
        self._sources_for: tuple[int, frozenset[int]] | None = None
        self._taken: dict[str, str] = {}  #: sources as they were when jobs took them first: SHA-256 by path
        self._has_begun = False  #: jobs were handed over to the run
        self._backed_up: set[Path] = set()
        self._cancelled_s: float | None = None  #: when, on the monotonic clock
        self._interrupts = Interrupts(self._unlock)
        super().__init__(workflow, logger)

    def __post_init__(self) -> None:
        """Read the settings. Nothing remote is touched before the first job: there may be none."""
        self._decisions = decide = Decisions(self.workflow, self.logger.info)
        self._options, self._start_folder, self._pools = decide.options, decide.start_folder, decide.pools
        self._providers, self._reader, self._call = decide.providers, decide.reader, decide.call
        self._ways = decide.ways
        self._placing = Placing(())
        self._cache = OutputCache(self.workflow)
        self._run_id = short_hash(str(self._start_folder), str(os.getpid()), str(id(self)))

    # -- from Snakemake ------------------------------------------------------------------------

    def run_job(self, job: Job) -> None:
        """Run one job."""
        self.run_jobs([job])

    def run_jobs(self, jobs: list[Job]) -> None:
        """Run jobs that are ready. Returns at once, but for the first time, when everything is opened."""
        try:
            self._hand_over(jobs)
        except Exception:  # Snakemake cancels then
            if not self._has_begun:
                self._drop()
            raise
        self._handed_over_s = time.monotonic()

    async def check_active_jobs(  # type: ignore[override]  # declared as a coroutine, used as a generator
        self, active_jobs: list[SubmittedJobInfo]
    ) -> AsyncGenerator[SubmittedJobInfo, None]:
        """Jobs are reported by the run's own threads; here the reported ones are only forgotten."""
        for info in active_jobs:
            if str(info.external_jobid) in self._infos:
                yield info

    async def sleep(self) -> None:
        """Wait until it is time to forget reported jobs, or the end has come."""
        await self._waker.wait(FORGET_EVERY_S)

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Cancel everything. The given list may be empty while jobs are alive, so it is not looked at."""
        if self._run is not None:
            self._cancelled_s = time.monotonic()
            count = self._run.cancel()
            self.logger.info(f"Cancelling {count} unfinished {'job' if count == 1 else 'jobs'} on Azure Batch.")

    def shutdown(self) -> None:
        """End the run: nothing that was started for it stays behind."""
        self.wait = False
        self._waker.wake()
        if self._run is not None:
            self._close(self._run)
            self._run = None
        self._interrupts.stop()
        super().shutdown()  # type: ignore[no-untyped-call]

    def get_python_executable(self) -> str:
        """The stager's runner, which pins what the job reads and writes."""
        return RemoteCall.RUNNER

    def get_snakefile(self) -> str:
        """The Snakefile, relative to where the task starts."""
        return self._call.snakefile

    def get_job_args(self, job: Job, **_: Any) -> str:
        """The job's own threads instead of all cores of the node: other tasks share it."""
        return str(RealExecutor.get_job_args(self, job, cores=max(1, int(job.threads))))

    def additional_general_args(self) -> str:
        """Flags that make the remote start lean."""
        return self._call.general_args

    def handle_job_error(self, job: Job) -> None:
        """Give back what a failed job was to update: Snakemake deletes a failed job's outputs."""
        self._settled(job, is_done=False)
        for path in self._take_backed_up(job):
            self.workflow.persistence.restore_output(path)

    def handle_job_success(self, job: Job) -> None:
        """Drop the copies of what the job has updated. Snakemake has noted the end of the job by now."""
        self._settled(job, is_done=True)
        for path in self._take_backed_up(job):
            self.workflow.persistence.cleanup_backup(path)

    def _detail(self, row: Mapping[str, Any]) -> None:
        if self.logger.isEnabledFor(logging.DEBUG):
            self.logger.debug(shown(row), extra=event("task_ended", row))

    def _hand_over(self, jobs: list[Job]) -> None:
        if self._run is None:
            self._interrupts.listen()
            self._decisions.refuse(self.workflow.dag.needrun_jobs())
        refusal = ""
        try:
            sources = self._new_sources()  # before anything is opened, or taken over: one may be missing
            run = self._run or self._open(jobs)
            if sources is not None:
                run.use_sources(sources)
                self._taken = {**sources.members, **self._taken}
        except AzureBatchError as error:
            if self._run is None or not self._has_begun:
                raise
            self._sources_for, run, refusal = None, self._run, f"{error}\n"
        requests = [request for job in jobs if (request := self._accept(run, job, refusal)) is not None]
        self._has_begun = self._has_begun or bool(requests)
        run.submit(requests)

    def _drop(self) -> None:
        """Close what a run has opened that could not begin. What an earlier run has left goes on, for the next one."""
        run, self._run = self._run, None
        if run is not None:
            self._cancelled_s = time.monotonic()
            self._close(run)

    # -- to Snakemake --------------------------------------------------------------------------

    def _unlock(self) -> None:
        self.workflow.persistence.unlock()

    def _close(self, run: Run | Runs) -> None:
        if self._detacher is not None:
            self._detacher.stop()
        if self._cancelled_s is None:
            run.close()
            if told := self._tally.text():
                self.logger.info(told, extra=event("run_ended", self._tally.figures()))
            if told := self._call.edited(self._taken):
                self.logger.warning(told)
            return
        left_s = self._cancelled_s + CLOSE_PATIENCE_S - time.monotonic()
        if not within(max(CLOSE_AT_LEAST_S, left_s), run.close):
            self.logger.info(
                f"Azure has not answered within {CLOSE_PATIENCE_S:.0f} s and is not waited for. What is left there is "
                "taken over or ended by the next run in this folder; the Batch job ends by itself where none comes."
            )

    def _open(self, first: list[Job]) -> Run | Runs:
        from snakemake import __version__ as snakemake_version

        place = Place(
            start_folder=self._start_folder,
            state_dir=STATE_DIR.absolute(),
            image=self.workflow.remote_execution_settings.container_image,
            rule_images=() if self._options.no_prefetch else self._ways.images(self.workflow.dag.needrun_jobs()),
            is_locked=self.workflow.execution_settings.lock,
            storage_client=self._providers.client,
            run_id=self._run_id,
            first_slots=tuple(max(1, int(job.threads)) for job in first),
        )
        self._tally = Tally(bundled() if self._pools is None else self._pools.catalogue)
        reports = Reports(
            *(self._placed, self._succeeded, self._failed, self._detail, self._tally.add),
            burst=lambda: one_round(self.workflow.scheduler),
        )

        def make_run(session: Session, to_dedicated: ToDedicated | None = None) -> Run:
            return Run(session, place, snakemake_version, reports, self.logger.info, to_dedicated)

        if self._pools is not None:
            several = open_several(self._options, place, self.logger.info, self._pools)
            self._place_all(several)
            self._run = Runs(several, make_run, self._placing.placed)
        else:
            session = open_session(self._options, place, self.logger.info)
            if session.around.image is None:
                self._confine(session)
            run = self._run = make_run(session)
            if self._options.detach:
                asked = Asked(lambda: self._handed_over_s, self._active_jobs, lambda: run.is_sent, run.leave)
                self._detacher = Detacher(self.workflow, asked, self.logger.info)
        self._run.keep_only(
            {work_of_one(job.rule.name, job.wildcards_dict) for job in self.workflow.dag.needrun_jobs()}
        )
        return self._run

    def _active_jobs(self) -> set[Job]:
        with self._infos_lock:
            return {info.job for info in self._infos.values()}

    def _confine(self, session: Session) -> None:
        """The pool that the user named has no containers: what is right for these may now be wrong."""
        self._decisions.without_containers(session.pool.pool_id)
        try:
            self._decisions.refuse(self.workflow.dag.needrun_jobs())
        except AzureBatchError:
            session.close()
            raise

    def _place_all(self, several: Several) -> None:
        """Tell of every job that no pool can take, before any pool is made."""
        try:
            self._placing = Placing(several.capacities())
            several.expect(self._placing.check(units(self.workflow.dag)))
        except AzureBatchError:
            several.close()
            raise

    def _new_sources(self) -> SourceArchive | None:
        """What jobs need, once, and again where a checkpoint that was done, or a queue of inputs, has changed that.

        Raises StagingError.
        """
        dag = self.workflow.dag
        changing = dag.jobs if dag.queue_input_jobs else dag.checkpoint_jobs
        state = len(dag.jobs), frozenset(map(id, changing))
        if state == self._sources_for:
            return None
        sources = build_archive(self._call.sources(self._options.extra_files))
        self._sources_for = state
        return sources

    def _accept(self, run: Run | Runs, job: Job, refusal: str) -> JobRequest | None:
        """The request; None where there is nothing to run, as it was refused (``refusal``: already, and why)."""
        self.run_job_pre(job)
        request = None
        try:
            if not refusal:
                request = run.name(self._read(job), versions_of(job, self.workflow), cut_off(job, self.workflow))
        except AzureBatchError as error:
            refusal = f"{error}\n"
        key = request.key if request is not None else self._key_of_refused(job)
        info = SubmittedJobInfo(job, external_jobid=key)
        with self._infos_lock:
            self._infos[key] = info
            self._keys[job] = key
        # Before it is submitted: a quick completion would leave a stale marker otherwise.
        self.report_job_submission(info)
        try:
            if self._cache.fetch(job):
                self._succeeded(key)
                return None
        except AzureBatchError as error:
            refusal = f"{error}\n"
        if request is None or refusal:
            self._failed(key, refusal)
            return None
        for path in _updated(job):
            if path.exists():
                self.workflow.persistence.backup_output(path)
                self._backed_up.add(path)
        return request

    def _read(self, job: Job) -> JobRequest:
        way, rendered = self._ways.choose(job)
        with self._call.node_settings():
            script = "" if rendered else self._call.finished(self.format_job_exec(job), job)
            environment = self._declared_variables() if rendered else self.envvars()
        request = self._reader.read(
            job,
            key="",  # comes from what is read
            script=script,
            unneeded=self.workflow.dag.get_unneeded_temp_files(job),
            environment=environment,
        )
        return self._placing.placed(self._reader.sent(request, job, way, rendered))

    def _declared_variables(self) -> dict[str, str]:
        """Of ``envvars:``. A rendered command needs none of the secrets that storage plugins get."""
        names = {*self.workflow.envvars, *self.workflow.remote_execution_settings.envvars}
        return {name: os.environ[name] for name in sorted(names)}

    def _key_of_refused(self, job: Job) -> str:
        """Of a job that no task is made for."""
        return batch_id(str(job.groupid if job.is_group() else job.rule.name), self._run_id, str(job.jobid))

    def _settled(self, job: Job, *, is_done: bool) -> None:
        with self._infos_lock:
            key = self._keys.pop(job, None)
        if key is not None and self._run is not None:
            self._run.settled(key, is_done=is_done)

    def _take_backed_up(self, job: Job) -> set[Path]:
        if not self._backed_up:
            return set()
        taken = self._backed_up & _updated(job)
        self._backed_up -= taken
        return taken

    def _placed(self, key: str) -> None:
        """What Snakemake does on the node only, done for the copies here. May raise StagingError."""
        with self._infos_lock:
            info = self._infos.get(key)
        for job in members(info.job) if info else ():
            check_ensured(job, self.workflow)
            self._providers.check_stored(job)
            self._cache.store(job)
            for f in set(job.protected_output) - set(job.storage_output):
                f.protect()

    def _succeeded(self, key: str) -> None:
        if (info := self._forget(key)) is not None:
            self.report_job_success(info)

    def _failed(self, key: str, text: str) -> None:
        if (info := self._forget(key)) is not None:
            self.report_job_error(info, msg=text)

    def _forget(self, key: str) -> SubmittedJobInfo | None:
        with self._infos_lock:
            return self._infos.pop(key, None)


def _updated(job: Job) -> set[Path]:
    """Outputs that the job changes in place: update()."""
    return {Path(f) for member in members(job) for f in member.output if "update" in getattr(f, "flags", {})}
