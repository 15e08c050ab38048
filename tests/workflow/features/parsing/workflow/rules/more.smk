MORE = Path(workflow.basedir, "rules", "more.txt").read_text().strip()


rule collected:
    input:
        expand("one/{name}.txt", name=SAMPLES),
    output:
        "all.txt",
    shell:
        "cat {input} > {output}"
