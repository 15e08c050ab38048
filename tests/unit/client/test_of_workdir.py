"""What belongs to a workdir: Batch jobs that any run of it may find, and lines of leases that one run has at a time."""

import platform
import shutil
from types import SimpleNamespace

import pytest

from snakemake_executor_azurebatch.run.batch_job import find_leftovers
from snakemake_executor_azurebatch.run.claims import Claims
from snakemake_executor_azurebatch.run.marks import OF_WORKDIR, metadata_of
from snakemake_executor_azurebatch.run.session import LINES, Grounds, Place

from .test_claims import answer, running


@pytest.fixture
def place(tmp_path):
    return Place(start_folder=tmp_path, state_dir=tmp_path / "state", image="image")


def found(place, metadata):
    """The Batch jobs with this metadata that a run in this place finds."""
    items = [SimpleNamespace(name=name, value=value) for name, value in metadata.items()]
    job = SimpleNamespace(id="left", metadata=items, pool_info=None, creation_time=None)
    service = SimpleNamespace(list_jobs=lambda **_: [job])
    mine = metadata_of(place.start_folder, place.state_dir)
    return [left.job_id for left in find_leftovers(service, {key: mine[key] for key in OF_WORKDIR}, lambda _: True)]


def test_a_batch_job_is_found_from_a_host_of_another_name(place, monkeypatch):
    made = metadata_of(place.start_folder, place.state_dir)
    monkeypatch.setattr(platform, "node", lambda: "login2")

    assert made["host"] != "login2"
    assert found(place, made) == ["left"]


def test_a_copy_of_the_folder_does_not_find_it(place, tmp_path):
    made = metadata_of(place.start_folder, place.state_dir)
    shutil.copytree(place.state_dir, tmp_path / "copy")

    assert found(Place(place.start_folder, tmp_path / "copy", "image"), made) == []


def test_runs_that_live_have_lines_of_their_own_and_the_next_inherits_that_of_a_dead_one(place):
    claimed = place.state_dir / "claims"

    def line(run_id):
        claims = Claims(claimed, print)
        claims.enter(run_id, takes_over=True)
        here = SimpleNamespace(
            place=SimpleNamespace(run_id=run_id, is_locked=True),
            options=SimpleNamespace(account=None, pool=SimpleNamespace(delete=False)),
            metadata=metadata_of(place.start_folder, place.state_dir),
            claims=claims,
            batch=None,
            say=print,
            farewell=None,
        )
        try:
            return Grounds.lessee(here).run
        finally:
            claims.close()

    inherited = line("a")
    with running(claimed, name=LINES) as living:
        assert answer(living)
        assert len({inherited, line("b"), line("c")}) == 3
        living.kill()
        living.wait()
        assert line("d") == inherited
