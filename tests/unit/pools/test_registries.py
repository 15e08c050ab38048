"""Where images come from, and which of them a pool could not fetch."""

import pytest

from snakemake_executor_azurebatch.pools.description import RegistryAccess
from snakemake_executor_azurebatch.pools.registries import host_of, refused_images


@pytest.mark.parametrize(
    ("image", "host"),
    [
        ("ubuntu:24.04", "docker.io"),
        ("biocontainers/samtools:1.9", "docker.io"),
        ("docker://quay.io/biocontainers/bwa", "quay.io"),
        ("MINE.azurecr.io/a/b:1", "mine.azurecr.io"),
        ("localhost/a", "localhost"),
        ("here:5000/a", "here:5000"),
    ],
)
def test_the_registry_of_an_image(image, host):
    assert host_of(image) == host


def test_an_image_of_a_private_registry_needs_an_entry():
    images = ["ubuntu", "mine.azurecr.io/a", "other.azurecr.io/b", "quay.io/c"]
    assert refused_images(images, [RegistryAccess("Mine.azurecr.io", username="me")]) == ["other.azurecr.io/b"]
    assert refused_images(images, [RegistryAccess("mine.azurecr.io", is_anonymous=True)]) == ["other.azurecr.io/b"]
