"""Runs Snakemake inside a task, with the controller's decisions about the job's files pinned.

    python STAGER snakemake -m snakemake --snakefile ... --mode remote

A plain remote call evaluates input functions, globs and checkpoints again, on a node that has only the
declared files, and then silently computes with other inputs. Here the controller's lists are the truth.
The file that SMK_STAGE_PINS names holds one pin per job of the call:

    {"rule", "wildcards", "input": [path] or null, "names": {name: [start, end or null]},
     "storage": {path: [name of the provider, query, whether it is retrieved]},
     "params": [repr or null], "param_names": {...}, "output": [path]}

``null`` means: evaluated here as usual (pipes, sources; values that are no literals). ``path`` of something in storage
is that of its local copy.
A job without a pin is not of this call: it gets no inputs, so that nothing upstream of it is looked at.

This is the one file of the stager that needs more than the standard library: it needs Snakemake, in the
version that the controller runs, since ``Rule.expand_input`` and its like are Snakemake's own affair.
"""

from __future__ import annotations

import ast
import json
import logging
import os
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from . import protocol
from .storage_plugins import prepare_plugins

Pins = Dict[str, Dict[str, Any]]


def main(argv: List[str]) -> None:
    """Run ``snakemake`` with ``argv`` (a leading ``-m snakemake`` is dropped). Ends the process.

    The process ends with the exit code of the command that failed, where one did, and not with
    Snakemake's own 1: it is what a user looks for.
    """
    if argv[:2] == ["-m", "snakemake"]:
        argv = argv[2:]
    pins_path = os.environ[protocol.ENV_PINS]
    wanted = os.environ.get(protocol.ENV_SNAKEMAKE, "")
    _check_version(wanted)
    with open(pins_path, encoding="utf-8") as stream:
        pins = {_key(pin["rule"], pin["wildcards"]): pin for pin in json.load(stream)}
    _pin_rules(pins)
    _note_exit_codes(pins_path + protocol.EXIT_CODE_SUFFIX)
    _spawn_pinned()
    prepare_plugins()

    from snakemake.cli import main as snakemake

    try:
        snakemake(argv)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
        _exit(code and (_noted(pins_path + protocol.EXIT_CODE_SUFFIX) or code))


def _check_version(wanted: str) -> None:
    try:
        from snakemake import __version__ as found
    except ImportError as error:
        sys.exit(
            "the task's Python (%s) cannot import Snakemake: %s. The container image needs "
            "Snakemake %s." % (sys.executable, error, wanted)
        )
    if wanted and found != wanted:
        sys.exit(
            "the container image has Snakemake %s, but the controller runs %s. They must be equal: "
            "use an image with snakemake==%s (--container-image), or install %s where you run snakemake."
            % (found, wanted, wanted, found)
        )


def _key(rule: str, wildcards: Dict[str, Any]) -> str:
    return rule + " " + json.dumps({k: str(v) for k, v in wildcards.items()}, sort_keys=True)


def _pin_rules(pins: Pins) -> None:
    from snakemake.rules import Rule

    evaluate_input, evaluate_params, evaluate_output = Rule.expand_input, Rule.expand_params, Rule.expand_output

    def expand_input(self: Any, wildcards: Any, groupid: Optional[str] = None) -> Tuple[Any, ...]:
        from snakemake.rules import InputFiles

        pin = pins.get(_key(self.name, dict(wildcards)))
        if pin is None:
            return InputFiles(), {}, {}, False
        if pin["input"] is None:
            return tuple(evaluate_input(self, wildcards, groupid=groupid))
        return _pinned_input(self, pin, lambda: evaluate_input(self, wildcards, groupid=groupid))

    def expand_params(self: Any, wildcards: Any, *args: Any, **kwargs: Any) -> Tuple[Any, Any]:
        pin = pins.get(_key(self.name, dict(wildcards)))
        if pin is None:
            return tuple(evaluate_params(self, wildcards, *args, **kwargs))
        return _pinned_params(pin, lambda: evaluate_params(self, wildcards, *args, **kwargs)[0])

    def expand_output(self: Any, wildcards: Any) -> Tuple[Any, Any]:
        output, mapping = evaluate_output(self, wildcards)
        pin = pins.get(_key(self.name, dict(wildcards)))
        if pin is not None and [str(f) for f in output] != pin["output"]:
            _refuse_other_output(self.name, [str(f) for f in output], pin["output"])
        return output, mapping

    Rule.expand_input, Rule.expand_params, Rule.expand_output = expand_input, expand_params, expand_output


def _pinned_input(rule: Any, pin: Dict[str, Any], evaluate: Callable[[], Tuple[Any, ...]]) -> Tuple[Any, ...]:
    """The evaluated lists where they agree with the pin (they keep all flags), else the pin's."""
    from snakemake.io import IOFile
    from snakemake.rules import InputFiles

    try:
        result = evaluate()
        if [str(f) for f in result[0]] == pin["input"] and not result[3]:
            return result
    except Exception as error:  # noqa: BLE001 (the rule's own functions run here, on a node without their files)
        sys.stderr.write("[stage] rule %s: inputs as pinned by the controller (%s)\n" % (rule.name, error))
    files = InputFiles()
    for path in pin["input"]:
        files.append(IOFile(_in_storage(rule, pin["storage"][path]) if path in pin["storage"] else path, rule=rule))
    for name, (start, end) in pin["names"].items():
        files._set_name(name, start, end=end)  # noqa: SLF001 (the only way to name a slice)
    return files, {f: f for f in files}, {}, False


def _in_storage(rule: Any, stored: List[Any]) -> Any:
    provider, query, retrieve = stored
    registry = rule.workflow.storage_registry
    return registry._storage_object(query, provider=provider, retrieve=retrieve)  # noqa: SLF001 (there is no public one)


def _pinned_params(pin: Dict[str, Any], evaluate: Callable[[], Any]) -> Tuple[Any, Any]:
    """The pin's values, and evaluated ones where it has none."""
    from snakemake.rules import Params

    params, pinned = Params(), pin["params"]
    here = evaluate() if None in pinned else pinned
    for value, evaluated in zip(pinned, here):
        params.append(evaluated if value is None else ast.literal_eval(value))
    for name, (start, end) in pin["param_names"].items():
        params._set_name(name, start, end=end)  # noqa: SLF001 (the only way to name a slice)
    return params, list(params)


def _refuse_other_output(rule: str, here: List[str], there: List[str]) -> None:
    from snakemake.exceptions import WorkflowError

    other = [(a, b) for a, b in zip(here, there) if a != b] or [(str(here), str(there))]
    raise WorkflowError(
        "Rule %s computes another output path in the task (%s) than in the controller (%s), most likely "
        "from the current directory. Use a path relative to the working directory." % (rule, *other[0])
    )


def _note_exit_codes(path: str) -> None:
    """Keep the exit code of the command that ended a job: Snakemake itself only says 1.

    That of the first job, where several fail: Snakemake kills the others that it runs together with that one.
    """
    from snakemake.executors.local import Executor

    run = Executor.cached_or_run

    def cached_or_run(self: Any, *args: Any) -> None:
        try:
            run(self, *args)
        except BaseException as error:
            _note(error, path)
            raise

    Executor.cached_or_run = cached_or_run


def _note(error: Optional[BaseException], path: str) -> None:
    """Note the exit code that is the reason of an error, unless there is one already (of a process below us, too)."""
    seen: Set[int] = set()
    while error is not None and id(error) not in seen:  # "raise error from error" makes a ring
        seen.add(id(error))
        if isinstance(error, subprocess.CalledProcessError):
            with suppress(FileExistsError), open(path, "x", encoding="utf-8") as stream:
                stream.write(str(error.returncode))
            return
        error = error.__cause__ or error.__context__


def _noted(path: str) -> int:
    try:
        with open(path, encoding="utf-8") as stream:
            code = int(stream.read())
    except (OSError, ValueError):
        return 0
    return 128 - code if code < 0 else code


def _exit(code: int) -> None:
    """End the process, also where a thread of the Snakefile waits for what only the controller does.

    The thread that fills the queue of a ``from_queue()`` is one: it may wait until all is taken out again.
    source: Snakemake documentation, "Continuously updated input".
    """
    waiting = [t for t in threading.enumerate() if t is not threading.current_thread() and not t.daemon]
    if not waiting:
        sys.exit(code)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _spawn_pinned() -> None:
    """Group members that Snakemake runs in a process of their own go through this runner as well."""
    from snakemake.executors.local import Executor

    prefix = '"${%s}" "${%s}" snakemake' % (protocol.ENV_PYTHON, protocol.ENV_STAGER)
    Executor.get_python_executable = lambda self: prefix
