"""The store of samples and the methods of the metrics."""

from datetime import timedelta

import pytest

from snakemake_executor_azurebatch.emulator.autoscale import METRICS, SampleStore, evaluate
from tests.unit.emulator.autoscale.support import NOW, context, refusal, sampled, shown

PENDING = "$PendingTasks"
TEN = sampled(PENDING, list(range(1, 11)))  # the newest, 10, cannot be read yet


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("GetSample(1)", "[9]"),
        ("GetSample(3)", "[7,8,9]"),
        ("GetSample(2.9)", "[8,9]"),
        ("GetSample(0)", "[]"),
        ("GetSample(100)", "[1,2,3,4,5,6,7,8,9]"),
        ("GetSample(1 / 0)", "[1,2,3,4,5,6,7,8,9]"),
        ("GetSample(2 * TimeInterval_Minute)", "[7,8,9]"),  # 3 of 4 are 75 %
        ("GetSample(TimeInterval_Minute, 50)", "[9]"),
        ("GetSample(TimeInterval_Second * 30, 0)", "[]"),
        ("GetSample(TimeInterval_Minute, 3 * TimeInterval_Minute)", "[5,6,7,8]"),
        ("GetSample(3 * TimeInterval_Minute, TimeInterval_Minute)", "[5,6,7,8]"),
        ("GetSample(TimeInterval_Minute, 3 * TimeInterval_Minute, 100)", "[5,6,7,8]"),
        ("GetSample(TimeInterval_Zero, 2 * TimeInterval_Minute, 75)", "[7,8,9]"),
        ("GetSample(time() + -2 * TimeInterval_Minute, time())", "[7,8,9]"),
        ("GetSample(time() + -2 * TimeInterval_Minute, 70)", "[7,8,9]"),
        ("GetSample(2 * TimeInterval_Minute, time())", "[7,8,9]"),
        ("GetSamplePercent(2 * TimeInterval_Minute)", "75"),
        ("GetSamplePercent(TimeInterval_Minute, 2 * TimeInterval_Minute)", "100"),
        ("GetSamplePercent(TimeInterval_Hour)", "7.5"),
        ("GetSamplePercent(45 * TimeInterval_Second)", "100"),
        ("GetSamplePercent(TimeInterval_Second)", "0"),
        ("GetSamplePercent(29 * TimeInterval_Second, 74 * TimeInterval_Second)", "100"),  # 2 where 1 is possible
        ("GetSamplePeriod()", "00:00:30"),
        ("Count()", "9"),
        ("HistoryBeginTime()", "2025-03-19T18:25:24.039Z"),
    ],
)
def test_methods(expression, value):
    assert shown(f"{PENDING}.{expression}", samples=TEN) == value


def test_a_quarter_of_an_hour_lacks_its_last_sample_as_a_published_result_does():
    store = sampled(PENDING, [0] * 100)
    assert shown(f"{PENDING}.GetSamplePercent(15 * TimeInterval_Minute)", samples=store) == "96.6667"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("TimeInterval_Minute", "wanted 70%, received 50%"),
        ("TimeInterval_Minute, 51", "wanted 51%, received 50%"),
        ("TimeInterval_Hour", "wanted 70%, received 7.5%"),
        ("TimeInterval_Hour, time(), 80", "wanted 80%, received 7.5%"),
        ("TimeInterval_Minute, 0 / 0", "wanted nan%, received 50%"),
    ],
)
def test_too_few_samples(arguments, text):
    code, detail = refusal(f"x = avg({PENDING}.GetSample({arguments}))", samples=TEN)
    assert code == "InsufficientSampleData"
    assert detail == f"Line 1, Col 32: Insufficient data from data set: $PendingTasks {text}"


def test_the_error_of_a_new_pool_reads_as_published():
    formula = "\n" * 8 + "samplevecavg = avg($PendingTasks.GetSample(TimeInterval_Minute * 10))"
    evaluation = evaluate(formula, context())
    assert evaluation.error.message == "Autoscale evaluation failed due to insufficient sample data"
    told = "Line 9, Col 43: Insufficient data from data set: $PendingTasks wanted 70%, received 0%"
    assert evaluation.error.values == (("Message", told),)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("GetSample()", "Col 19: Method GetSample does not take 0 arguments"),
        ("GetSample(1, 2, 3, 4)", "Col 19: Method GetSample does not take 4 arguments"),
        ("GetSample(1, 2)", "Col 28: Method GetSample does not take double"),
        ('GetSample("a")', "Col 28: Method GetSample does not take string"),
        ("GetSample(time(), time(), time())", "Col 28: Method GetSample does not take timestamp, timestamp, timestamp"),
        ("GetSample(-1)", "Col 28: Invalid number of samples: -1"),
        ("GetSample(0 / 0)", "Col 28: Invalid number of samples: nan"),
        ("GetSamplePercent(5)", "Col 35: Method GetSamplePercent does not take double"),
        ("Count(1)", "Col 19: Method Count does not take 1 arguments"),
        ("GetSamples(1)", "Col 19: Undefined symbol: GetSamples"),
        ("hour", "Col 19: A double has no member hour"),
        ("latest", "Col 19: Undefined symbol: latest"),
    ],
)
def test_refused_calls(call, text):
    expected = ("AutoScalingFormulaEvaluationError", f"Line 1, {text}")
    assert refusal(f"x = {PENDING}.{call}", samples=TEN) == expected


def test_methods_need_a_metric():
    assert refusal("x = 1; y = x.Count()")[1] == "Line 1, Col 14: Method Count needs a metric"
    assert refusal("y = $TargetDedicatedNodes.Count()")[1] == "Line 1, Col 27: Method Count needs a metric"
    assert shown("($PendingTasks).Count()", samples=TEN) == "9"


def test_a_pool_without_samples():
    assert shown(f"{PENDING}.Count()") == "0"
    assert shown(f"{PENDING}.GetSample(5)") == "[0]"
    assert shown(f"{PENDING}.GetSamplePercent(TimeInterval_Hour)") == "0"
    assert shown(PENDING) == "0"
    assert refusal(f"x = {PENDING}.HistoryBeginTime()")[1] == "Line 1, Col 35: There are no samples of $PendingTasks"


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_is_sampled(metric):
    store = sampled(metric, [4, 5, 6])
    assert shown(f"{metric}.GetSample(2)", samples=store) == "[4,5]"
    assert shown(metric, samples=store) == "5"
    assert shown(metric, samples=store, current={metric: 8}) == "8"
    assert shown(f"{metric} * 2", samples=store) == "10"


def test_retired_metrics_are_known_and_empty():
    assert shown("$CPUPercent.Count()", samples=TEN) == "0"
    assert refusal("x = $MemoryBytes.GetSample(TimeInterval_Hour)", samples=TEN)[0] == "InsufficientSampleData"
    with pytest.raises(ValueError, match=r"no metric: \$CPUPercent"):
        SampleStore().record(NOW, {"$CPUPercent": 1})


def test_the_old_name_of_the_current_nodes():
    assert shown("$CurrentDedicated * 1.5", current={"$CurrentDedicatedNodes": 4}) == "6"


def test_pending_is_the_sum():
    store = SampleStore()
    store.record(NOW - timedelta(minutes=2), {"$ActiveTasks": 3, "$RunningTasks": 4})
    store.record(NOW - timedelta(minutes=1), {"$ActiveTasks": 3, "$RunningTasks": 4, "$PendingTasks": 9})
    assert shown(f"{PENDING}.GetSample(2)", samples=store) == "[7,9]"


def test_samples_come_in_order_and_when_they_are_due():
    store = SampleStore()
    assert store.due(NOW)
    store.record(NOW, {PENDING: 1})
    assert not store.due(NOW + timedelta(seconds=29))
    assert store.due(NOW + timedelta(seconds=30))
    with pytest.raises(ValueError, match="order of time"):
        store.record(NOW, {PENDING: 1})


def test_memory_is_bounded():
    store = sampled(PENDING, range(50), capacity=20)
    assert len(store) == 20
    assert shown(f"{PENDING}.GetSample(100)", samples=store).startswith("[30,")


def test_a_store_survives_as_plain_data():
    copy = SampleStore.from_plain(TEN.to_plain())
    assert copy.to_plain() == TEN.to_plain()
    assert shown(f"{PENDING}.GetSample(3)", samples=copy) == "[7,8,9]"
    with pytest.raises(ValueError, match="not a row"):
        SampleStore.from_plain([[1, 2, 3]])


def test_a_longer_delay_hides_more():
    store = sampled(PENDING, range(10), delay=timedelta(minutes=1))
    assert shown(f"{PENDING}.GetSample(1)", samples=store) == "[7]"
