"""The formula language that sizes a pool, as pure functions: no input or output, no clock.

``check`` says what is wrong with a formula before a pool gets it, ``evaluate`` computes the targets from a
``Context`` (the time, the current targets, the samples), and a ``SampleStore`` per pool keeps the metrics.
``evaluate`` never raises for what a formula says: the error is part of the ``Evaluation``.

Sources: the public documentation page on automatic scaling of pools (syntax, types, operators, functions,
sample methods, limits), recorded exchanges (the form of results and errors) and results that users of the
service published (order of variables, six digits, truncation, the 70 % rule). What is assumed where these are
silent stands in the docstring of the module concerned.
"""

from snakemake_executor_azurebatch.emulator.autoscale.check import check
from snakemake_executor_azurebatch.emulator.autoscale.errors import Problem
from snakemake_executor_azurebatch.emulator.autoscale.evaluate import Context, Evaluation, evaluate
from snakemake_executor_azurebatch.emulator.autoscale.names import METRICS
from snakemake_executor_azurebatch.emulator.autoscale.samples import SAMPLE_PERIOD, SampleStore

__all__ = ["METRICS", "SAMPLE_PERIOD", "Context", "Evaluation", "Problem", "SampleStore", "check", "evaluate"]
