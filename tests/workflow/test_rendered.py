"""Rendered commands: what runs is byte for byte what Snakemake's local executor runs; and who cannot have them."""

import os
from pathlib import Path

import pytest

#: Stands before the real bash in PATH: keeps what it was told, and hands it on.
RECORDER = """#!/bin/sh
case $1 in
-c) printf %s "$2" ;;
*) cat "$1" ;; # a command that is too long for an argument
esac > "$(mktemp "$RECORDED/XXXXXXXX")"
exec /bin/bash "$@"
"""

VALUES = [
    "a b",
    "it's",
    'say "hi"',
    "$HOME `x` \\",
    "{} {{x}}",
    "ünï ∂ 日本",
    "tab\there",
    "new\nline",
    "*?[x]",
    "-dash",
    "",
    "a;b|c&d",
    "100% #hash",
    "~user",
    "'\"'\"'",
    "a\\b\\\\c",
    "$(echo no)",
]

#: For every value: a rule's body after its output. "given" is a function where Snakemake would see a wildcard.
USES = (
    """
    params: v={given}
    shell: "printf '%s' {{params.v:q}} > {{output}}"
""",
    """
    params: l=lambda wildcards: [{value!r}, 'x', 1]
    shell: "printf '%s|' {{params.l:q}} > {{output}}; " + ": {{params.l[1]}}"
""",
    """
    params: f=lambda wildcards, output: {value!r} + output[0]
    shell:
        \"""
        printf '%s' \\
          {{params.f:q}} > {{output}}
        \"""
""",
    """
    params: v={given}
    shell: "cat > {{output}} <<'END'\\n{{params.v}}\\nEND\\n"
""",
    """
    shell: "echo > {{output}}; : " + quoted({value!r})
""",
)

HAND = r"""
rule wildcards_:
    input: "in/a b.txt"
    output: "out/w.{x}.txt"
    shell: "cat {input:q} > {output:q}; echo {wildcards.x:q} {rule} {jobid} {input:q} >> {output:q} # {wildcards}"

rule named:
    input: one="in/a b.txt", more=["in/c.txt", "in/d.txt"], f=lambda wildcards: "in/c.txt"
    output: a="out/named.txt", b=["out/n1.txt", "out/n2.txt"]
    log: "logs/n.log", err="logs/n.err"
    shell: "cat {input.more} {input[0]:q} > {output.a}; touch {output.b}; echo {output} {log} {log.err} 2> {log.err}"

rule amounts:
    output: "out/amounts.txt"
    params: tmp=lambda wildcards, resources: resources.tmpdir, more=lambda wildcards, threads: threads * 2
    threads: 2
    resources: mem_mb=lambda wildcards, attempt: 100 * attempt, word="some word"
    shell:
        "echo {threads} {resources.mem_mb} {resources.word:q} {resources.tmpdir} {params} $OMP_NUM_THREADS $TMPDIR "
        "> {output}"

rule own_tmpdir:
    output: "out/own.txt"
    resources: tmpdir="own/tmp dir"
    shell: "echo {resources.tmpdir:q} \"$TMPDIR\" > {output}; test -d {resources.tmpdir:q}"

rule globals_:
    output: "out/globals.txt"
    shell: "echo {WORD} {TABLE[key]} {config[name]:q} {obj.attribute} {bench_iteration} {{literal}} > {output}"

rule measured:
    output: "out/measured.txt"
    benchmark: repeat("bench/m.tsv", 2)
    shell: "echo {bench_iteration} >> {output}"

rule strict:
    output: "out/strict.txt"
    shell: "(false | true) && r=0 || r=$?; shopt -qo nounset && echo $r > {output}"

rule long:
    output: "out/long.txt"
    shell: "echo {LONG} | wc -c > {output}"

for number in range(3):
    rule:
        name: f"looped{number}"
        output: f"out/looped{number}.txt"
        shell: "echo {number} {output} " + f"{number}" + " > {output}"

module other:
    snakefile: "other/Snakefile"
    config: {"name": "of the module"}

use rule * from other as other_*

use rule globals_ as inherited with:
    output: "out/inherited.txt"
"""

PRELUDE = r"""
import shlex
envvars: "PATH", "RECORDED"
WORD = "main"
TABLE = {"key": "value"}
LONG = "x" * 70000
config["name"] = "in main"

class obj:
    attribute = "attr"

def quoted(text):
    return shlex.quote(text).replace("{", "{{").replace("}", "}}")
"""

MODULE = r"""
WORD = "module"

rule word:
    output: "out/module.txt"
    shell: "echo {WORD} {config[name]:q} {rule} > {output}"
"""


def workflow() -> tuple[str, int]:
    """The Snakefile, and how many commands it runs."""
    rules, outputs = [], []
    for value in VALUES:
        for use in USES:
            name = f"r{len(rules)}"
            outputs.append(f"out/{name}.txt")
            given = f"lambda wildcards: {value!r}" if "{" in value else repr(value)
            rules.append(f"rule {name}:\n    output: {outputs[-1]!r}{use.format(value=value, given=given)}\n")
    outputs += [f"out/w.{x}.txt" for x in ("1", "comma,dot.", "sp ace", "q'uote")]
    outputs += [f"out/looped{number}.txt" for number in range(3)]
    outputs += [f"out/{name}.txt" for name in ("named", "amounts", "own", "globals", "measured", "strict", "long")]
    outputs += ["out/module.txt", "out/inherited.txt"]
    head = f"rule all:\n    default_target: True\n    input: {outputs!r}\n\n"
    # A benchmark's command runs twice; wildcards with a quote are in two more.
    return PRELUDE + head + "".join(rules) + HAND, len(outputs) + 1


def recorded(folder: Path) -> list[bytes]:
    """Without the start of a script, which Snakemake gives to a shell of its own."""
    texts = (path.read_bytes() for path in folder.iterdir())
    return sorted(text for text in texts if not text.startswith(b'"'))


def files(folder: Path) -> dict[str, bytes]:
    kept = (path for name in ("out", "logs") for path in sorted((folder / name).rglob("*")))
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept if path.is_file()}


def test_what_runs_is_byte_for_byte_what_the_local_executor_runs(workdir):
    twin = type(workdir)(workdir.path.parent / "locally", workdir.service)
    twin.path.mkdir()
    snakefile, commands = workflow()
    for one in (workdir, twin):
        one.write("Snakefile", snakefile)
        one.write("other/Snakefile", MODULE)
        for name in ("a b", "c", "d"):
            one.write(f"in/{name}.txt", name)
        recorder = one.write("bin/bash", RECORDER)
        recorder.chmod(0o755)
        (one.path / "recorded").mkdir()
        path = f"{recorder.parent}:{os.environ['PATH']}"
        one.environment.update(PATH=path, RECORDED=str(one.path / "recorded"), TMPDIR="/tmp")

    assert commands >= 100
    workdir.run("--azurebatch-lane", "shell", jobs=200).must_succeed()
    twin.run_locally().must_succeed()

    assert recorded(workdir.path / "recorded") == recorded(twin.path / "recorded")
    assert len(recorded(twin.path / "recorded")) >= commands
    assert files(workdir.path) == files(twin.path)
    rows = (workdir.path / "bench/m.tsv").read_text().splitlines()
    assert [len(row.split("\t")) for row in rows] == [10, 10, 10]
    workdir.nothing_to_do()


@pytest.mark.long
def test_prefix_suffix_and_shells_are_the_workflows(workdir):
    twin = type(workdir)(workdir.path.parent / "locally", workdir.service)
    twin.path.mkdir()
    for one in (workdir, twin):
        one.write(
            "Snakefile",
            'shell.prefix("PREFIXED=yes; ")\nshell.suffix("suffixed > $OUT")\n'
            'rule all:\n    input: "out.txt", "posix.txt"\n'
            'rule a:\n    output: "out.txt"\n    shell: "OUT={output}; echo $PREFIXED $- ${{BASH_VERSION:+bash}}"\n'
            'rule b:\n    output: "posix.txt"\n    resources: shell_exec="sh"\n'
            '    shell: "OUT={output}; echo $PREFIXED ${{BASH_VERSION:-not bash}}"\n',
        )
        one.environment.update(TMPDIR="/tmp")

    workdir.run("--azurebatch-lane", "shell", jobs=1).must_succeed()
    twin.run_locally("--cores", "1").must_succeed()

    for name in ("out.txt", "posix.txt"):
        assert workdir.read(name) == twin.read(name)
        assert workdir.read(name).endswith("suffixed\n")


REFUSED = """
envvars: "HOME"
rule all:
    input: "a", "b", "c", "d", "e", "f"

rule scripted:
    output: "a"
    resources: azurebatch_lane="shell"
    script: "x.py"

rule grouped:
    output: "b"
    group: "g"
    resources: azurebatch_lane="shell"
    shell: "touch {output}"

rule sourced:
    input: workflow.source_path("Snakefile")
    output: "c"
    resources: azurebatch_lane="shell"
    shell: "cat {input} > {output}"

rule staged:
    output: "d"
    resources: azurebatch_lane="snakemake", azurebatch_staging="batch"
    shell: "touch {output}"

rule unknown:
    output: "e"
    resources: azurebatch_lane="bash", azurebatch_staging="ftp"
    shell: "touch {output}"

rule in_a_file:
    output: "f"
    resources: azurebatch_image="tool.sif"
    shell: "touch {output}"
"""


def test_what_cannot_be_had_is_refused_before_anything_is_submitted(workdir):
    workdir.write("Snakefile", REFUSED)
    workdir.write("x.py", "")
    before = len(workdir.requests())

    text = workdir.run().must_fail().text

    impossible = "azurebatch_lane=shell is not possible:"
    for sentence in (
        f"rule scripted: {impossible} it has no shell command (its rule has script).",
        f"rule grouped: {impossible} it is a group of jobs.",
        f"rule sourced: {impossible} it uses workflow.source_path: ",
        "rule staged: azurebatch_staging=batch is for rendered shell commands only, and this job runs Snakemake in its",
        "rule unknown: resource azurebatch_lane is 'bash'; it can be auto, shell, snakemake.",
        "rule in_a_file: 'tool.sif' (azurebatch_image) is not an image of a container registry.",
    ):
        assert sentence in text
    assert len(workdir.requests()) == before


def test_settings_that_are_none(workdir):
    workdir.write("Snakefile", "rule a:\n    output: 'a'\n    shell: 'touch {output}'\n")

    text = workdir.run("--azurebatch-lane", "fast", "--azurebatch-staging", "ftp").must_fail().text

    assert "--azurebatch-lane: 'fast' is not one of auto, shell, snakemake" in text
    assert "--azurebatch-staging: 'ftp' is not one of auto, stager, batch" in text


AROUND = """
rule all:
    input: "t", "u", "kept", "sourced", "in_params"

rule touching:
    output: touch("t"), "u"
    log: "logs/t.log"
    retries: 1
    resources: n=lambda wildcards, attempt: attempt
    shell: "test {resources.n} -eq 2; test ! -e stale; echo u > u"

rule temporary:
    output: temp("gone"), protected("kept")
    shell: "echo 1 > gone; echo 2 > kept"

rule sourced:
    input: "kept"
    output: "sourced"
    shell: "scripts/tool.sh < {input} > {output}"

rule in_params:
    output: "in_params"
    params: f=workflow.source_path("scripts/tool.sh")
    shell: "cat {params.f} > {output}"
"""


@pytest.mark.long
def test_what_belongs_around_a_command(workdir):
    workdir.write("Snakefile", AROUND)
    workdir.write("scripts/tool.sh", "#!/bin/sh\necho tool; cat\n").chmod(0o755)

    workdir.run("--azurebatch-extra-files", "scripts").must_succeed()

    assert workdir.read("t") == workdir.read("logs/t.log") == ""
    assert workdir.read("sourced") == "tool\n2\n"
    assert not (workdir.path / "gone").exists()
    assert (workdir.path / "kept").stat().st_mode & 0o222 == 0
    assert workdir.read("in_params") == workdir.read("scripts/tool.sh")
    kinds = {told.task_id.split("-")[0]: told.command.kind for told in workdir.manifests()}
    assert kinds == {"touching": "shell", "temporary": "shell", "sourced": "shell", "in_params": "snakemake"}
    # Snakemake gives sources another path each time, and takes that for another param.
    assert "Nothing to be done" in workdir.run_locally("-n", "t", "u", "kept", "sourced").must_succeed().text


FAILING = """
rule all:
    input: "empty", "sum", "exit", "none", "folder"

rule empty:
    output: ensure("empty", non_empty=True)
    shell: "touch {output}"

rule sum:
    output: ensure("sum", sha256="0")
    shell: "echo > {output}"

rule exit:
    output: "exit"
    shell: "echo > {output}; echo said >&2; exit 7"

rule none:
    output: "none"
    shell: ": "

rule folder:
    output: "folder"
    shell: "mkdir {output}"
"""


def test_failures_are_told_and_leave_no_output(workdir):
    workdir.write("Snakefile", FAILING)

    text = workdir.run("--keep-going").must_fail().text

    assert text.count("the command ended well, but an output is not as ensure() demands") == 2
    assert text.count("the command ended well, but declared output is missing") == 2
    assert "the command failed, exit code 7" in text
    assert "  | said\n" in text
    assert not any((workdir.path / name).exists() for name in ("empty", "sum", "exit", "none", "folder"))
