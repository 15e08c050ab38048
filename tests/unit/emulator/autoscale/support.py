"""What the tests of the formula language share."""

import random
from datetime import UTC, datetime, timedelta

from snakemake_executor_azurebatch.emulator.autoscale import Context, SampleStore, evaluate

NOW = datetime(2025, 3, 19, 18, 29, 54, 39607, tzinfo=UTC)  # a Wednesday


def context(**given):
    """A pool of two dedicated and one low-priority node; what is given overrides."""
    return Context(**{"now": NOW, "target_dedicated": 2, "target_low_priority": 1, "random": random.Random(7), **given})


def shown(expression, **given):
    """What a variable with this value shows."""
    evaluation = evaluate(f"x = {expression}", context(**given))
    assert evaluation.error is None, evaluation.error
    return dict(evaluation.variables)["x"]


def refusal(formula, **given):
    """Code and detail of the error that a formula ends with. The targets stay."""
    evaluation = evaluate(formula, context(**given))
    assert evaluation.error is not None, evaluation.results
    assert (evaluation.target_dedicated, evaluation.target_low_priority) == (2, 1)
    assert evaluation.variables == ()
    return evaluation.error.code, evaluation.error.detail


def sampled(metric, values, *, now=NOW, **options):
    """A store whose newest sample was taken now; the values are the oldest first, one every 30 s."""
    store = SampleStore(**options)
    start = now - timedelta(seconds=30) * (len(values) - 1)
    for number, value in enumerate(values):
        store.record(start + number * timedelta(seconds=30), {metric: value})
    return store
