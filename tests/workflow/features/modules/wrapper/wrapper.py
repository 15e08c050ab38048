from snakemake.shell import shell

shell("echo wrapped > {snakemake.output[0]}")
