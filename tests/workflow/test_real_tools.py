"""Tools that people use, bwa, samtools and bcftools: the same bytes as the local executor makes."""

import gzip
import random
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workflow.test_all_features import snapshot

WORKFLOW = Path(__file__).parent / "real_tools"
TOOLS = ("bwa", "samtools", "bcftools")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]

GENOME_BASES = 5_000
READ_BASES = 100
FRAGMENT_BASES = 300
PAIRS = 1_000  # each base is read 40 times
BASES = "ACGT"
COMPLEMENT = str.maketrans(BASES, "TGCA")

#: 1-based place -> samples that have another base there.
DIFFERENCES = {1_000: ("child",), 2_500: ("mother", "child"), 4_000: ("mother",)}

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"Debian packages that are not installed: {', '.join(MISSING)}")


def write_inputs(folder: Path) -> None:
    """A genome, and reads of two samples that differ from it in a few bases."""
    dice = random.Random(20)
    genome = "".join(dice.choices(BASES, k=GENOME_BASES))
    lines = [genome[start : start + 70] for start in range(0, GENOME_BASES, 70)]
    (folder / "reference").mkdir()
    (folder / "reference/genome.fa").write_text("\n".join([">chr1", *lines, ""]))
    (folder / "reads").mkdir()
    for sample in ("mother", "child"):
        pairs = list(sequenced(changed(genome, sample), dice))
        for mate in (1, 2):
            text = "".join(f"@{sample}{n}/{mate}\n{p[mate - 1]}\n+\n{'I' * READ_BASES}\n" for n, p in enumerate(pairs))
            (folder / f"reads/{sample}_{mate}.fq.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


def changed(genome: str, sample: str) -> str:
    """The genome of a sample, the same on both chromosomes."""
    bases = list(genome)
    for place, samples in DIFFERENCES.items():
        if sample in samples:
            bases[place - 1] = other(bases[place - 1])
    return "".join(bases)


def other(base: str) -> str:
    return base.translate(COMPLEMENT)


def sequenced(genome: str, dice: random.Random) -> Iterator[tuple[str, str]]:
    """Both ends of fragments from random places, the second one read backwards."""
    for _ in range(PAIRS):
        start = dice.randrange(len(genome) - FRAGMENT_BASES)
        fragment = genome[start : start + FRAGMENT_BASES]
        yield fragment[:READ_BASES], fragment.translate(COMPLEMENT)[::-1][:READ_BASES]


def made(folder: Path) -> dict[str, object]:
    """All files but logs, in which bwa notes how long it took."""
    return {name: content for name, content in snapshot(folder).items() if not name.startswith("logs/")}


@pytest.mark.long
def test_reads_are_mapped_and_variants_called_as_without_azure(workdir):
    shutil.copytree(WORKFLOW, workdir.path, dirs_exist_ok=True)
    write_inputs(workdir.path)
    twin = type(workdir)(workdir.path.parent / "locally", workdir.service)
    shutil.copytree(workdir.path, twin.path)

    workdir.run().must_succeed()
    twin.run_locally().must_succeed()

    assert made(workdir.path) == made(twin.path)
    found = [line.split("\t") for line in workdir.read("results/variants.tsv").splitlines()]
    assert {int(place): (mother, child) for place, _, _, mother, child in found} == {
        place: tuple("1/1" if sample in samples else "0/0" for sample in ("mother", "child"))
        for place, samples in DIFFERENCES.items()
    }
    assert all(alternative == other(reference) for _, reference, alternative, _, _ in found)
    assert workdir.read("results/variants.svg").count("<circle") == 4
    assert "Real time" in workdir.read("logs/map/child.log")
    assert not (workdir.path / "mapped/child.bam").exists()
    assert not (workdir.path / "sorted/child.bam").stat().st_mode & stat.S_IWUSR
    workdir.nothing_to_do()
