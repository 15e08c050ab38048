"""Sources that somebody edits while a run goes on."""

SNAKEFILE = """
localrules: edit

rule all:
    input: "after.txt", "made.txt"

rule before:
    output: "before.txt"
    script: "scripts/write.py"

rule edit:
    input: "before.txt"
    output: "edited"
    shell: "echo 'open(snakemake.output[0], \\"w\\").write(\\"new\\")' > scripts/write.py; echo > {output}"

rule after:
    input: "edited"
    output: "after.txt"
    script: "scripts/write.py"

rule made:
    input: "edited"
    output: "made.txt"
    shell: "echo made > {output}"
"""
TOLD = "Changed while this run went on: scripts/write.py. Its jobs, or some of them, had what was there before"


def test_all_jobs_have_the_same_sources_and_what_was_edited_is_told(workdir):
    workdir.write("Snakefile", SNAKEFILE)
    workdir.write("made.txt", "")  # a source that a job makes anew: that is nobody's edit
    workdir.write("scripts/write.py", "open(snakemake.output[0], 'w').write('old')\n")
    text = workdir.run("--forceall", "--azurebatch-extra-files", "made.txt").must_succeed().text
    assert workdir.read("before.txt") == workdir.read("after.txt") == "old"
    assert text.count("Changed while this run went on") == text.count(TOLD) == 1

    text = workdir.run("--forcerun", "after").must_succeed().text
    assert workdir.read("after.txt") == "new"
    assert "Changed while" not in text
