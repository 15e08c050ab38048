"""Snakemake's features that touch files: what comes back, as what, and that a second run finds nothing to do."""

import io
import os
import stat
import tarfile
from pathlib import Path

BASIC = """
configfile: "config/config.yaml"

rule all:
    input: "protected.txt", "tree", "counted.txt", "touched.flag", "ran.txt", "scripted.txt", "kept.txt"

rule protect:
    input: "in/a b.txt"
    output: protected("protected.txt")
    shell: "cp '{input}' {output}"

rule tree:
    output: directory("tree")
    shell: "mkdir -p {output}/deep/er {output}/empty; echo x > {output}/deep/er/f; ln -s er/f {output}/deep/link; "
           "echo '#!/bin/sh' > {output}/tool; chmod +x {output}/tool"

rule count:
    input: "tree"
    output: "counted.txt"
    log: "logs/count.log"
    benchmark: "bench/count.tsv"
    threads: 2
    shell: "find -P {input} -mindepth 1 | grep -v snakemake_timestamp | LC_ALL=C sort > {output}; "
           "{input}/tool; echo {threads} > {log}"

rule touching:
    output: touch("touched.flag")
    shell: "true"

rule running:
    input: "in/a b.txt"
    output: "ran.txt"
    run:
        with open(input[0]) as source, open(output[0], "w") as target:
            target.write(source.read() + config["word"])

rule scripting:
    input: "in/a b.txt"
    output: "scripted.txt"
    params: number=config["number"]
    script: "scripts/double.py"

rule temporary:
    output: temp("temporary.txt")
    shell: "echo t > {output}"

rule keep:
    input: "temporary.txt"
    output: "kept.txt"
    shell: "cat {input} > {output}"
"""

SCRIPT = """
import helper

with open(snakemake.output[0], "w") as out:
    out.write(str(helper.double(snakemake.params.number)))
"""

GROUPS = """
rule all:
    input: "c.txt"

rule a:
    output: "a.txt"
    group: "g"
    shell: "echo a > {output}"

rule b:
    input: "a.txt"
    output: "b.txt", temp("inside.txt")
    group: "g"
    shell: "cat {input} > {output[0]}; echo b >> {output[0]}; echo i > {output[1]}"

rule b2:
    input: "inside.txt"
    output: "b2.txt"
    group: "g"
    run:
        with open(output[0], "w") as out:
            out.write(open(input[0]).read())

rule c:
    input: "b.txt", "b2.txt", "a.txt"
    output: "c.txt"
    shell: "cat {input} > {output}"
"""


def test_files_of_all_kinds_come_back_as_they_are(workdir):
    workdir.write("config/config.yaml", "word: hello\nnumber: 21\n")
    workdir.write("in/a b.txt", "content\n")
    workdir.write("scripts/double.py", SCRIPT)
    workdir.write("scripts/helper.py", "def double(x):\n    return 2 * x\n")
    workdir.write("Snakefile", BASIC)

    workdir.run().must_succeed()

    assert not (workdir.path / "protected.txt").stat().st_mode & stat.S_IWUSR
    tree = workdir.path / "tree"
    assert (tree / "deep/link").is_symlink()
    assert (tree / "empty").is_dir()
    assert os.access(tree / "tool", os.X_OK)
    assert workdir.read("counted.txt").split() == [
        *("tree/deep", "tree/deep/er", "tree/deep/er/f", "tree/deep/link", "tree/empty", "tree/tool"),
    ]
    assert workdir.read("logs/count.log") == "2\n"
    assert workdir.read("bench/count.tsv").startswith("s\th:m:s")
    assert workdir.read("ran.txt") == "content\nhello"
    assert workdir.read("scripted.txt") == "42"
    assert workdir.read("kept.txt") == "t\n"
    assert not (workdir.path / "temporary.txt").exists()
    workdir.nothing_to_do()


def test_all_files_of_a_group_come_back(workdir):
    workdir.write("Snakefile", GROUPS)

    workdir.run().must_succeed()

    assert workdir.read("c.txt") == "a\nb\ni\na\n"
    assert workdir.read("b.txt") == "a\nb\n"
    assert not (workdir.path / "inside.txt").exists()
    workdir.nothing_to_do()


def test_variables_arrive_whole_and_not_in_the_manifest(workdir):
    secret = 'it\'s "quoted" $HOME `x`'
    workdir.environment["SECRET_WORD"] = secret
    workdir.write(
        "Snakefile",
        'envvars: "SECRET_WORD"\n\nrule a:\n    output: "a.txt"\n    shell: "printenv SECRET_WORD > {output}"\n',
    )

    workdir.run().must_succeed()

    assert workdir.read("a.txt") == secret + "\n"


def test_unchanged_inputs_are_not_uploaded_again(workdir):
    old = workdir.write("in.txt", "x" * 1000)
    os.utime(old, (1_000_000_000, 1_000_000_000))
    workdir.write(
        "Snakefile", 'rule a:\n    input: "in.txt"\n    output: "{n}.txt"\n    shell: "cp {input} {output}"\n'
    )
    workdir.run("one.txt").must_succeed()
    blobs = workdir.blobs("inputs/")

    workdir.run("two.txt").must_succeed()

    assert workdir.blobs("inputs/") == blobs
    assert len(blobs) == 1


def test_a_workdir_directive_and_a_directory_option(workdir):
    workdir.write(
        "flow/Snakefile", 'workdir: "inner"\n\nrule a:\n    output: "a.txt"\n    shell: "echo $PWD > {output}"\n'
    )
    workdir.run("-s", "flow/Snakefile").must_succeed()
    assert workdir.read("inner/a.txt").endswith("/inner\n")

    workdir.write(
        "Snakefile", 'rule b:\n    input: "x/in.txt"\n    output: "b.txt"\n    shell: "cp {input} {output}"\n'
    )
    workdir.write("run/x/in.txt", "there\n")
    workdir.run("--directory", "run").must_succeed()
    assert workdir.read("run/b.txt") == "there\n"


def test_a_script_beside_the_snakefile_takes_no_secrets_along(workdir):
    workdir.write("Snakefile", 'rule a:\n    output: "a.txt"\n    script: "a.py"\n')
    workdir.write("a.py", 'open(snakemake.output[0], "w").write("a")')
    workdir.write(".git/config", "token")
    run = type(workdir)(workdir.path / "run", workdir.service)
    run.path.mkdir()

    for arguments in ((), ("--forceall",)):  # the first run has left its state, and a result
        run.run("-s", "../Snakefile", *arguments).must_succeed()

    (sources,) = run.blobs("sources/")
    with tarfile.open(fileobj=io.BytesIO(run.content(sources))) as archive:
        names = {Path("/", name).relative_to(workdir.path) for name in archive.getnames()}
    assert {str(name) for name in names} == {"Snakefile", "a.py"}
    assert run.read("a.txt") == "a"
