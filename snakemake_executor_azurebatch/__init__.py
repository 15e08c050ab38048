"""Run Snakemake workflows on Azure Batch."""

__version__ = "0.1.0"
