"""The command ``snakemake-azurebatch``: one command, one file."""
