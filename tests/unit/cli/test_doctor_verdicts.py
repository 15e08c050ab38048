"""What ``doctor`` makes of what it has found out (pure)."""

import pytest

from snakemake_executor_azurebatch.doctor import clock, here, pools, task


@pytest.mark.parametrize(
    ("written", "verdict", "said"),
    [
        ("Python 3.12.1\n{here}\n", "pass", "Python 3.12.1, Snakemake"),
        ("Python 3.12.1\n9.0.0\n", "warn", "Snakemake 9.0.0: jobs that need Snakemake in their task"),
        ("Python 3.12.1\n\n", "warn", "no Snakemake"),
        ("\n\n", "warn", "no Python: Azure Batch moves the files"),
    ],
)
def test_versions_in_an_image(written, verdict, said):
    found = task.judge_image(written.format(here=task.version("snakemake")))
    assert (found.verdict, said in found.said) == (verdict, True)


def test_a_snakemake_that_is_too_old(monkeypatch):
    monkeypatch.setattr(here, "version", lambda _: "8.30.0")
    found = here.check_versions()
    assert (found.verdict, "Snakemake 8.30.0 is too old" in found.said) == ("fail", True)
    assert found.mend.startswith("pip install 'snakemake>=")


@pytest.mark.parametrize(
    ("jobs", "verdict"), [(None, "warn"), (3, "warn"), (8, "pass"), ("unlimited", "pass"), ("many", "fail")]
)
def test_jobs(jobs, verdict):
    wanted = pools.Wanted("p", "p", "Standard_D4s_v5", None, None, slots=4, most_nodes=2, spot_nodes=0)
    assert here.check_jobs(jobs, [wanted]).verdict == verdict


@pytest.mark.parametrize(("ahead_s", "verdict"), [(2, "pass"), (-90, "warn"), (900, "fail"), (-1000, "fail")])
def test_clocks(ahead_s, verdict):
    assert clock.judge(ahead_s).verdict == verdict
