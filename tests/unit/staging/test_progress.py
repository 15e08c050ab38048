"""What is told of transfers that take long."""

import pytest

from snakemake_executor_azurebatch.node.protocol import StoredFile
from snakemake_executor_azurebatch.staging.progress import Progress, amount, duration
from snakemake_executor_azurebatch.staging.store import ONE_REQUEST_BYTES, BlobStore

MIB = 1 << 20


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_short_transfer_is_silent():
    said: list[str] = []
    clock = Clock()
    with Progress(said.append, 5, clock).moving("Uploading", 10) as moved:
        clock.now_s = 4.9
        moved(10)

    assert said == []


def test_a_long_one_is_told_now_and_then():
    said: list[str] = []
    clock = Clock()
    progress = Progress(said.append, 5, clock)
    with progress.moving("Uploading", 100 * MIB) as moved:
        for second in range(1, 11):
            clock.now_s = second
            moved(2 * MIB)

    assert said == [
        "Uploading: 10.0 MiB of 100.0 MiB, 2.0 MiB/s, about 45 s left",
        "Uploading: 20.0 MiB of 100.0 MiB, 2.0 MiB/s, about 40 s left",
    ]


def test_transfers_at_the_same_time_are_told_as_one():
    said: list[str] = []
    clock = Clock()
    progress = Progress(said.append, 5, clock)
    with progress.moving("Downloading", 4 * MIB) as one, progress.moving("Downloading", 4 * MIB) as other:
        one(MIB)
        clock.now_s = 5
        other(MIB)

    assert said == ["Downloading: 2.0 MiB of 8.0 MiB, 409.6 KiB/s, about 15 s left"]


def test_each_busy_time_is_counted_anew():
    said: list[str] = []
    clock = Clock()
    progress = Progress(said.append, 5, clock)
    for _ in range(3):
        with progress.moving("Uploading", 1) as moved:
            clock.now_s += 3
            moved(1)

    assert said == []


def test_both_directions_of_a_real_transfer_are_counted(container, tmp_path):
    said: list[str] = []
    store = BlobStore(container, progress=Progress(said.append, 0))
    store.ensure()
    large = tmp_path / "large"
    large.write_bytes(b"x" * (ONE_REQUEST_BYTES + MIB))

    found = store.upload_file(large, "inputs/large")
    store.download(StoredFile("x", "inputs/large", found.size_bytes, found.md5), tmp_path / "back")
    store.close()

    total = amount(large.stat().st_size)
    assert any(line.startswith(f"Uploading: {total} of {total}") for line in said)
    assert any(line.startswith(f"Downloading: {total} of {total}") for line in said)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB"), (9 << 50, "9216.0 TiB")],
)
def test_amounts(size_bytes, text):
    assert amount(size_bytes) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (89, "89 s"), (125, "2 min"), (11_100, "3 h 5 min")])
def test_durations(seconds, text):
    assert duration(seconds) == text
