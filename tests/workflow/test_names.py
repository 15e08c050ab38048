"""Odd names of rules and files."""

import json

ODD = [
    "with space.txt",
    "quote's.txt",
    'double"quote.txt',
    "ünï-ço∂é.txt",
    "-dash.txt",
    "per%20cent#.txt",
    "sub/do.t.txt",
]


def test_odd_file_names_travel(workdir):
    for name in ODD:
        workdir.write(f"in/{name}", name)
    workdir.write(
        "Snakefile",
        f"ODD = {ODD!r}\n\n"
        'rule all:\n    input: expand("out/{name}", name=ODD)\n\n'
        'rule copy:\n    input: "in/{name}"\n    output: "out/{name}"\n    log: "logs/{name}.log"\n'
        "    run:\n        import shutil\n        shutil.copy(input[0], output[0])\n"
        "        open(log[0], 'w').write(wildcards.name)\n",
    )

    workdir.run().must_succeed()

    assert {name: workdir.read(f"out/{name}") for name in ODD} == {name: name for name in ODD}
    assert workdir.read(f"logs/{ODD[0]}.log") == ODD[0]


def test_long_and_odd_rule_names(workdir):
    long = "r" * 100
    workdir.write(
        "Snakefile",
        f'rule all:\n    input: "a.txt", "b.txt"\n\n'
        f'rule {long}:\n    output: "a.txt"\n    shell: "echo a > {{output}}"\n\n'
        f'rule with_ünicode_1:\n    output: "b.txt"\n    shell: "echo b > {{output}}"\n',
    )

    workdir.run().must_succeed()

    assert workdir.read("a.txt") + workdir.read("b.txt") == "a\nb\n"


def test_leading_dash_and_parent_folders_of_inputs(workdir):
    outside = workdir.path.parent / "beside"
    outside.mkdir()
    (outside / "ref.txt").write_text("reference\n")
    workdir.write(
        "Snakefile",
        'rule a:\n    input: "../beside/ref.txt"\n    output: "-a.txt"\n    shell: "cat {input} > ./{output}"\n',
    )

    workdir.run().must_succeed()

    assert workdir.read("-a.txt") == "reference\n"


def test_an_absolute_input(workdir):
    absolute = workdir.write("elsewhere/in.txt", "absolute\n")
    workdir.write(
        "Snakefile",
        f"rule a:\n    input: {json.dumps(str(absolute))}\n"
        "    output: 'a.txt'\n    shell: 'cat {input} > {output}'\n",
    )

    workdir.run().must_succeed()

    assert workdir.read("a.txt") == "absolute\n"
