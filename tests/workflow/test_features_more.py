"""Features that differ from a local run, or that are counted: links, members of groups, many files."""

LINKED = """
rule all:
    input: "used.txt"

rule link:
    input: "in.txt"
    output: "relative.txt", "absolute.txt"
    shell: "ln -s {input} {output[0]}; ln -s $(realpath {input}) {output[1]}"

rule use:
    input: "relative.txt", "absolute.txt", "given.txt"
    output: "used.txt"
    shell: "cat {input} > {output}"
"""


def test_outputs_that_are_links_come_back_as_files(workdir):
    """On a node they lead to what is there: here that would be another file, or none."""
    workdir.write("in.txt", "in\n")
    (workdir.path / "given.txt").symlink_to("in.txt")
    workdir.write("Snakefile", LINKED)

    workdir.run().must_succeed()

    assert workdir.read("used.txt") == "in\n" * 3
    assert not (workdir.path / "relative.txt").is_symlink()
    assert not (workdir.path / "absolute.txt").is_symlink()
    workdir.nothing_to_do()


CHECKPOINT_IN_A_GROUP = """
rule all:
    input: lambda wildcards: checkpoints.split.get().output[0], "after.txt"

checkpoint split:
    output: "split.txt"
    group: "g"
    shell: "echo split > {output}"

rule after:
    input: "split.txt"
    output: "after.txt"
    group: "g"
    shell: "cat {input} > {output}"
"""


def test_a_checkpoint_in_a_group(workdir):
    workdir.write("Snakefile", CHECKPOINT_IN_A_GROUP)

    workdir.run().must_succeed()

    assert workdir.read("after.txt") == "split\n"
    workdir.nothing_to_do()


MANY = 300
MANY_FILES = f"""
rule all:
    input: "sum.txt"

rule many:
    output: expand("many/{{i}}.txt", i=range({MANY}))
    run:
        for i, path in enumerate(output):
            with open(path, "w") as stream:
                print(i, file=stream)

rule sum:
    input: rules.many.output
    output: "sum.txt"
    run:
        with open(output[0], "w") as out:
            print(sum(int(open(path).read()) for path in input), file=out)
"""


def test_hundreds_of_files_of_one_job(workdir):
    """The service hears as much of them as of one file; what was made comes back, and does not go up again."""
    before = len(workdir.requests())
    workdir.write("Snakefile", MANY_FILES)

    workdir.run("--quiet", "rules").must_succeed()

    assert workdir.read("sum.txt") == f"{sum(range(MANY))}\n"
    assert len(list((workdir.path / "many").iterdir())) == MANY
    assert not workdir.blobs("inputs/")
    sent = [request for request in workdir.requests()[before:] if request["method"] != "GET"]
    assert len(sent) < 20
    workdir.nothing_to_do()
