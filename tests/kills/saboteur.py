"""Runs a program that kills itself (SIGKILL) at a chosen point.

python saboteur.py POINT NUMBER PROGRAM [ARGUMENT...]

POINT    call:MODULE:NAME    the function is about to be called
         done:MODULE:NAME    it has just returned
         audit:REGEX         an audit event of Python happens, as "EVENT ARGUMENTS" (opening, renaming, removing, ...)
NUMBER   at which of these times
PROGRAM  a module to run, or the path of a zip application
"""

from __future__ import annotations

import functools
import importlib
import itertools
import os
import re
import runpy
import signal
import sys


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(point: str, number: int) -> None:
    kind, _, where = point.partition(":")
    count = itertools.count(1)
    if kind == "audit":
        fits = re.compile(where)

        def watch(event: str, arguments: tuple) -> None:
            if event.startswith(("os.", "open", "shutil.")):
                fitting = fits.search(" ".join([event, *map(str, arguments)]))
                if fitting and next(count) == number:
                    die()

        sys.addaudithook(watch)
        return
    module, _, name = where.partition(":")
    *path, last = name.split(".")
    owner = functools.reduce(getattr, path, importlib.import_module(module))
    real = getattr(owner, last)

    @functools.wraps(real)
    def sabotaged(*arguments: object, **options: object) -> object:
        now = next(count) == number
        if now and kind == "call":
            die()
        result = real(*arguments, **options)
        if now:
            die()
        return result

    setattr(owner, last, sabotaged)


def main() -> None:
    point, number, program, *arguments = sys.argv[1:]
    sys.argv = [program, *arguments]
    if program.endswith(".pyz"):
        arm(point, int(number))
        runpy.run_path(program, run_name="__main__")
    else:
        arm(point, int(number))
        runpy.run_module(program, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
