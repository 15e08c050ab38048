from pathlib import Path

values = snakemake.params.simulation
Path(snakemake.output[0]).write_text(f"{values['alpha'] * values['beta']} {dict(snakemake.wildcards)}\n")
