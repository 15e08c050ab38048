"""One task from its manifest to its commit record.

setup       read the manifest, make the workspace
stage_in    place sources, inputs, folders
command     run it
stage_out   store logs, then outputs (only of a command that exited with 0)
done

Whatever happens, the commit record is written, last. The process ends with the command's exit code, or
with one of protocol.EXIT_*, or with 128 + N when signal N stopped it outside of the command.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from . import protocol
from .blob import Container, Interrupted
from .cache import open_cache
from .command import run_command
from .elsewhere import Elsewhere
from .errors import MissingOutput, StageError, Stopped, reason_of, why
from .fetch import Fetch
from .limits import Limits
from .products import prepare_products
from .report import Timings, amount, say
from .sharing import Links, in_doubt_message
from .signals import Signals
from .stagein import Stage, stage_in, staged_bytes
from .stageout import Exit, store_logs, store_outputs, store_streams
from .workspace import Workspace, open_workspace

#: What a failure in a phase is called, and the exit code of the task.
FAILURES = {
    "setup": (protocol.ERROR_SETUP, protocol.EXIT_SETUP),
    "stage_in": (protocol.ERROR_STAGE_IN, protocol.EXIT_STAGE_IN),
    "command": (protocol.ERROR_SETUP, protocol.EXIT_SETUP),  # it could not even be started
    "stage_out": (protocol.ERROR_STAGE_OUT, protocol.EXIT_STAGE_OUT),
}


class Task:
    """One run of the stager; what it has reached is kept for the commit record."""

    def __init__(self, environ: Mapping[str, str], stager: str, signals: Signals, limits: Limits) -> None:
        self._environ = environ
        self._stager = stager
        self._signals = signals
        self._limits = limits
        self._timings = Timings()
        self._phase = "setup"
        self._record: Dict[str, Any] = {}  # fields of the commit record
        self._exit_code = 0
        self._read: Optional[Container] = None
        self._write: Optional[Container] = None
        self._manifest: Optional[protocol.Manifest] = None
        self._workspace: Optional[Workspace] = None
        self._links: Optional[Links] = None
        self._elsewhere = Elsewhere(signals.stopping)

    def run(self) -> int:
        """Do all of it. Returns the exit code of the process; raises nothing."""
        try:
            self._signals.attend(self._journey)
        except Stopped as stop:
            self._record["reason"] = protocol.REASON_STOPPED
            self._fail(FAILURES[self._phase][0], 128 + stop.signum, "%s during %s" % (stop, self._phase))
        except MissingOutput as missing:
            self._record["missing"] = missing.paths
            self._fail(protocol.ERROR_MISSING_OUTPUT, protocol.EXIT_MISSING_OUTPUT, str(missing))
        except (StageError, OSError, protocol.ProtocolError) as error:
            self._fail(*FAILURES[self._phase], why(error), reason_of(error))
        except Exception as bug:  # noqa: BLE001  a bug of ours must still leave a record
            self._phase = "setup"
            self._fail(*FAILURES["setup"], "bug in the stager: %s: %s" % (type(bug).__name__, bug))
            import traceback

            say(self._redact(traceback.format_exc()))
        self._close()
        return self._exit_code

    def _journey(self) -> None:
        with self._timings.measure("setup"):
            manifest, workspace = self._set_up()
        with self._timings.measure("stage_in"):
            self._stage_in(manifest, workspace)
        self._signals.check()
        with self._timings.measure("command"):
            self._run_command(manifest, workspace)
        self._phase = "stage_out"
        with self._timings.measure("stage_out"):
            self._stage_out(manifest, workspace)
        if self._exit_code == 0:
            self._phase = "done"

    def _set_up(self) -> Tuple[protocol.Manifest, Workspace]:
        read_url, write_url, name = (
            self._needed(key) for key in (protocol.ENV_READ_URL, protocol.ENV_WRITE_URL, protocol.ENV_MANIFEST)
        )
        self._write = Container(write_url, stopping=self._signals.stopping)
        # Both are of one blob container, and one connection costs less than two.
        shared = self._write.connections if _without_sas(read_url) == _without_sas(write_url) else None
        self._read = Container(read_url, stopping=self._signals.stopping, connections=shared)
        value = self._environ.get(protocol.ENV_MANIFEST_TEXT)
        data = protocol.of_variable(value) if value else self._read.get(name)
        self._manifest = manifest = protocol.Manifest.from_json(protocol.decode(data))
        self._write.marks = manifest.marks
        self._workspace = workspace = open_workspace(self._task_dir(), manifest.workdir, manifest.same_path)
        self._record.update(same_path=not workspace.tree, why_tree=workspace.why_tree)
        prepare_products(manifest, workspace, self._environ)
        return manifest, workspace

    def _stage_in(self, manifest: protocol.Manifest, workspace: Workspace) -> None:
        self._phase = "stage_in"
        assert self._read is not None  # noqa: S101  set up before
        cache = open_cache(self._environ, manifest.cache or protocol.CacheLimits(), self._signals.stopping)
        self._links = Links(os.path.join(workspace.task_dir, ".stage-links"))
        fetch = Fetch(self._read, self._limits, cache, self._links, self._elsewhere)
        start = time.monotonic()
        try:
            stage_in(Stage(fetch, workspace, self._limits), manifest)
        finally:
            self._record.update(fetch.figures.fields())
        count = len(manifest.inputs) + bool(manifest.sources)
        self._tell("in", count, staged_bytes(manifest), start, fetch.figures.summary())

    def _run_command(self, manifest: protocol.Manifest, workspace: Workspace) -> None:
        self._phase = "command"
        start = time.monotonic()
        if manifest.command.shells:
            from .rendered import run_rendered

            ended = run_rendered(manifest, workspace, self._signals)
        else:
            ended = run_command(manifest, workspace, self._stager, self._signals)
        self._record.update(
            exit_code=ended.exit_code,
            peak_memory_bytes=ended.peak_memory_bytes,
            cpu_s=ended.cpu_s,
            peak_disk_bytes=workspace.disk_bytes(),
        )
        say("command: exit code %d, %.2f s" % (ended.exit_code, time.monotonic() - start))
        if self._signals.received is None:  # a node that is taken away leaves no time to wait
            self._persist(self._limits.patience_s)
        if self._signals.received is not None:
            code = ended.exit_code or 128 + self._signals.received
            told = "told to stop by signal %d" % self._signals.received
            self._fail(protocol.ERROR_COMMAND, code, told, protocol.REASON_STOPPED)
        elif ended.exit_code:
            self._fail(protocol.ERROR_COMMAND, ended.exit_code, "the command exited with %d" % ended.exit_code)
        in_doubt = self._links.check() if self._links else []
        if in_doubt:
            self._fail(protocol.ERROR_STAGE_IN, protocol.EXIT_STAGE_IN, in_doubt_message(in_doubt))

    def _stage_out(self, manifest: protocol.Manifest, workspace: Workspace) -> None:
        start = time.monotonic()
        self._store_logs(manifest, workspace)
        outputs = []
        if self._exit_code == 0:
            outputs = store_outputs(self._way(manifest, workspace), manifest.outputs)
            self._record["outputs"] = outputs
        stored = [*outputs, *self._record["logs"]]
        self._tell("out", len(stored), sum(item.size_bytes for item in stored), start)

    def _store_logs(self, manifest: protocol.Manifest, workspace: Workspace) -> None:
        self._record["logs"] = []
        try:
            self._record["logs"] = store_logs(self._way(manifest, workspace), manifest.logs)
        except (StageError, OSError) as error:
            if self._exit_code == 0:
                raise
            say("logs could not be stored: %s" % why(error))  # the command's failure is what matters

    def _close(self) -> None:
        """Logs that are still missing, streams, the record; then tidy up."""
        if self._manifest and self._workspace and self._exit_code:
            self._store_attended(self._keep_evidence)
        self._store_attended(self._write_record)
        if self._links is not None:
            self._links.remove()
        if self._workspace is not None:
            self._workspace.remove(everything=not self._keeps_files())
        for container in (self._read, self._write):
            if container is not None:
                container.close()
        self._elsewhere.close()

    def _store_attended(self, store: Callable[[], None]) -> None:
        """Storage may be waited for, but not where the task is told to stop: then what is left is tried in short."""
        if self._signals.received is not None:
            self._persist(0.0)
        try:
            self._signals.attend(store)
        except Stopped as stop:
            self._persist(0.0)
            if self._signals.left_behind:  # nobody will know how it ends
                self._exit_code = self._exit_code or 128 + stop.signum
            else:
                store()

    def _persist(self, patience_s: float) -> None:
        if self._write is not None:
            self._write.persist(patience_s)
        self._elsewhere.persist(patience_s)

    def _keeps_files(self) -> bool:
        keep = self._manifest.keep_files if self._manifest else protocol.KEEP_FAILED
        return keep == protocol.KEEP_ALL or (keep == protocol.KEEP_FAILED and self._exit_code != 0)

    def _keep_evidence(self) -> None:
        """Logs, where they are not stored yet, and streams of a failed task."""
        manifest, workspace = self._manifest, self._workspace
        assert manifest is not None and workspace is not None  # noqa: S101, PT018  set up before
        try:
            if "logs" not in self._record:
                self._store_logs(manifest, workspace)
            way = self._way(manifest, workspace)
            self._record["streams"] = store_streams(way, self._environ.get("AZ_BATCH_TASK_DIR"))
        except Exception as error:  # noqa: BLE001  nothing may keep the record from being written
            say("stdout.txt and stderr.txt could not be stored: %s" % self._redact(why(error)))

    def _write_record(self) -> None:
        destination = self._destination()
        if self._write is None or destination is None:
            say("no commit record: where to is not known")
            return
        stored = [item for area in ("outputs", "logs", "streams") for item in self._record.get(area, [])]
        self._record["uploaded_bytes"] = sum(item.size_bytes for item in stored)
        task_id = self._manifest.task_id if self._manifest else destination.rpartition("/")[2]
        record = protocol.CommitRecord(
            task_id=task_id, phase=self._phase, timings_s=self._timings.seconds, **self._record
        )
        try:
            data = protocol.encode(record.to_json())
            self._write.put(protocol.record_blob(destination), data)
        except Interrupted:
            raise
        except StageError as error:
            say("no commit record: %s" % error)
            self._exit_code = self._exit_code or protocol.EXIT_STAGE_OUT

    def _fail(self, error_class: str, exit_code: int, message: str, reason: str = "") -> None:
        if self._record.get("error_class") is None:  # the first failure is the reason of the others
            self._record.update(error_class=error_class, error_message=self._redact(message))
            self._record.setdefault("reason", reason)
            self._exit_code = exit_code
        say("failed (%s): %s" % (error_class, self._redact(message)))

    def _way(self, manifest: protocol.Manifest, workspace: Workspace) -> Exit:
        assert self._write is not None  # noqa: S101  set up before
        return Exit(self._write, workspace, manifest.destination, self._limits, self._elsewhere)

    def _needed(self, key: str) -> str:
        value = self._environ.get(key)
        if not value:
            raise StageError("the task's environment has no %s" % key)
        return value

    def _task_dir(self) -> str:
        named = self._environ.get("AZ_BATCH_TASK_WORKING_DIR", "")
        return named if os.path.isdir(named) else os.getcwd()

    def _destination(self) -> Optional[str]:
        """The task's blob prefix: from the manifest, else from the manifest's own name."""
        if self._manifest is not None:
            return self._manifest.destination
        return self._environ.get(protocol.ENV_MANIFEST, "").rpartition("/")[0] or None

    def _redact(self, text: str) -> str:
        for container in (self._read, self._write):
            text = container.redact(text) if container else text
        return self._elsewhere.redact(text)

    @staticmethod
    def _tell(way: str, count: int, size_bytes: int, start: float, more: str = "") -> None:
        say("%s: %d files, %s%s, %.2f s" % (way, count, amount(size_bytes), more, time.monotonic() - start))


def _without_sas(url: str) -> str:
    return url.partition("?")[0]


def run_task() -> int:
    """Run the task that this process's environment names. Returns the exit code."""
    signals = Signals()
    with signals.installed():
        code = Task(os.environ, os.path.abspath(sys.argv[0]), signals, Limits()).run()
        if signals.left_behind:  # the interpreter would wait for its threads
            os._exit(code)
    return code
