"""What the command line says reaches the jobs: configuration, resources, threads, prefixes, groups."""

import json

import pytest

VALUES = """
import json

rule all:
    input: "config.json", "shell.txt", "told.txt", "gathered.txt", "wrapped.txt", "shadow.txt"

rule configured:
    output: "config.json"
    run:
        with open(output[0], "w") as out:
            json.dump(config, out)

rule quoted:
    output: "shell.txt"
    params: config["text"]
    shell: "printf %s {params:q} > {output}"

rule told:
    output: "told.txt"
    resources: gadgets=1
    shell: "echo {threads} {resources.gadgets} {resources.mem_mb} {resources.words} $WORD > {output}"

rule wrapped:
    output: "wrapped.txt"
    params: word=config["text"]
    wrapper: "some/tool"

rule shadowed:
    output: "shadow.txt"
    shadow: "minimal"
    run:
        from pathlib import Path
        Path("junk").touch()
        Path(output[0]).write_text(Path.cwd().parents[1].name)

scattergather: split=2

rule scatter:
    output: scatter.split("{scatteritem}.part")
    shell: "touch {output}"

rule gather:
    input: gather.split("{scatteritem}.part")
    output: "gathered.txt"
    shell: "echo {input} > {output}"
"""

#: A shell would read something else in nearly all of it.
TEXT = "it's \"$HOME\" `x` ä 名 & \\t 100% 'a b' z"


def test_config_resources_and_prefixes(workdir):
    workdir.environment["WORD"] = "a 'word' $x"
    workdir.write("flow/Snakefile", VALUES)
    workdir.write("conf/one.yaml", "one: 1\ntable: {x: 1}\ntext: no\n")
    workdir.write("conf/it's two.yaml", "one: 2\n")
    tool = workdir.write(
        "wrappers/some/tool/wrapper.py",
        "import up\n\nopen(snakemake.output[0], 'w').write(up.up(snakemake.params.word))\n",
    )
    tool.with_name("up.py").write_text("def up(text):\n    return text.upper()\n")
    tool.with_name("environment.yaml").write_text("dependencies: []\n")
    (workdir.path / "run").mkdir()

    workdir.run(
        *("-s", "flow/Snakefile", "--directory", "run", "--configfile", "conf/one.yaml", "conf/it's two.yaml"),
        *("--config", f"text={TEXT}", "table={'a': {'b': [1, 'two words', None]}, 'c': 1.5}", "number=007", "empty="),
        *("--set-threads", "told=2", "--set-resources", "told:gadgets=3", "told:words='two words'"),
        *("--default-resources", "mem_mb=max(123, attempt*100)", "--resources", "gadgets=3", "--envvars", "WORD"),
        *("--set-scatter", "split=3", "--shadow-prefix", "shadows"),
        *("--wrapper-prefix", f"file://{workdir.path}/wrappers/"),
    ).must_succeed()

    assert json.loads(workdir.read("run/config.json")) == {
        "one": 2,
        "text": TEXT,
        "number": 7,
        "empty": None,
        # As with local execution: inside of a table, all that is on the command line is text.
        "table": {"x": 1, "a": {"b": ["1", "two words", "None"]}, "c": "1.5"},
    }
    assert workdir.read("run/shell.txt") == TEXT
    assert workdir.read("run/told.txt") == "2 3 123 two words a 'word' $x\n"
    assert workdir.read("run/wrapped.txt") == TEXT.upper()
    assert workdir.read("run/shadow.txt") == "shadows"
    assert workdir.read("run/gathered.txt") == "1-of-3.part 2-of-3.part 3-of-3.part\n"


GROUPED = """
configfile: "config.yaml"

rule all:
    input: expand("b{n}.txt", n=range(4)), "config.json"

rule a:
    output: "a{n}.txt"
    threads: 8
    shell: "echo {threads} $PRECOMMAND > {output}"

rule b:
    input: "a{n}.txt"
    output: temp("b{n}.txt")
    resources: n=lambda w, attempt: attempt
    shell: "test {resources.n} = 2; cat {input} > {output}"

rule configured:
    output: "config.json"
    run:
        import json
        with open(output[0], "w") as out:
            json.dump(config, out)
"""

PROFILE = """
max-threads: 1
retries: 1
notemp: true
precommand: "export PRECOMMAND=before"
groups: [a=ab, b=ab]
group-components: [ab=2]
"""


@pytest.mark.long
def test_profiles_groups_and_a_command_before(workdir):
    workdir.write("Snakefile", GROUPED)
    workdir.write("config.yaml", "word: in the file\nmore: in the file\n")
    workdir.write("other.yaml", "more: replaced\n")
    workdir.write("mine/config.yaml", PROFILE)
    workdir.write("profiles/default/config.yaml", "config: ['word=in the profile']\nreplace-workflow-config: true\n")

    workdir.run("--profile", "mine", "--configfile", "other.yaml").must_succeed()

    assert [workdir.read(f"b{n}.txt") for n in range(4)] == ["1 before\n"] * 4
    assert json.loads(workdir.read("config.json")) == {"word": "in the profile", "more": "replaced"}
    tasks = {name.split("/")[1] for name in workdir.blobs("tasks/")}
    assert len([task for task in tasks if task.startswith("ab-")]) == 4, tasks  # two groups of two, tried twice
    workdir.nothing_to_do()
