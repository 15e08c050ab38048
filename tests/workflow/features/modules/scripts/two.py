from helper import shout

with open(snakemake.output[0], "w") as out:
    out.write(shout(snakemake.params.get("word", "one")))
