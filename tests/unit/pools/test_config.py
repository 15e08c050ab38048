"""``pools.yaml``: what is right is read, and all that is wrong is told with file, line, key and what is allowed."""

import json
import re
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.pools.config import PoolsFileError, read_pools
from snakemake_executor_azurebatch.pools.description import Span
from snakemake_executor_azurebatch.pools.model import PoolsFile

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
BAD = sorted((HERE / "bad").glob("*.yaml"))
SECRET = "s3cret-value"
ENVIRONMENT = {"SET": SECRET}

SMALL = "pools:\n  - name: small\n    vm_size: Standard_D4s_v5\n    nodes: {dedicated: 1}\n"


def read(tmp_path: Path, text: str, environment: dict[str, str] | None = None):
    file = tmp_path / "pools.yaml"
    file.write_text(text)
    return read_pools(file, environment or {})


def one(tmp_path: Path, text: str, environment: dict[str, str] | None = None):
    return read(tmp_path, text, environment).pools[0]


def test_there_are_enough_bad_files():
    assert len(BAD) >= 40


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.stem)
def test_what_is_wrong_is_told(file):
    expected = [line.removeprefix("# expect") for line in file.read_text().splitlines() if line.startswith("# expect")]
    assert expected
    with pytest.raises(PoolsFileError) as caught:
        read_pools(file, ENVIRONMENT)
    first, *lines = str(caught.value).splitlines()
    assert first == f"{file} cannot be used:"
    assert [line.removeprefix(f"  - {file}") for line in lines] == expected
    assert "hunter2" not in str(caught.value).lower()


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.stem)
def test_the_line_is_that_of_the_key(file):
    """But for what is missing, whose line is that of what it is missing from."""
    lines = file.read_text().splitlines()
    for expected in (line for line in lines if line.startswith("# expect:")):
        found = re.match(r"# expect:(\d+): ([\w.\[\]]+): (.*)", expected)
        if found is None or "missing" in found[3] or "neither" in found[3] or "there are" in found[3]:
            continue
        key = re.sub(r"\[\d+\]", "", found[2]).rpartition(".")[2]
        line = lines[int(found[1]) - 1]
        assert key in line or line.lstrip().startswith("-"), expected


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(PoolsFileError, match=r"nowhere\.yaml: it cannot be read: No such file or directory"):
        read_pools(tmp_path / "nowhere.yaml", {})


def test_a_file_that_is_not_text(tmp_path):
    (tmp_path / "pools.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PoolsFileError, match="it is not a text in UTF-8"):
        read_pools(tmp_path / "pools.yaml", {})


def test_values_that_refer_to_themselves(tmp_path):
    with pytest.raises(PoolsFileError, match="nested too deeply"):
        read(tmp_path, "pools: &all\n  - *all\n")


def test_a_pool_of_a_size(tmp_path):
    pool = one(tmp_path, SMALL.replace("dedicated: 1", "dedicated: 1, spot: {max: 9}"))
    assert (pool.name, pool.given_id, pool.vm_size, pool.slots) == ("small", None, "Standard_D4s_v5", 4)
    assert (pool.dedicated, pool.spot) == (Span(0, 1), Span(0, 9))


def test_the_cheapest_size_that_meets_the_requirements(tmp_path):
    text = "pools:\n  - name: big\n    requirements: {cores: 3, memory_gib: 30, families: [E]}\n    nodes: {spot: 1}\n"
    pool = one(tmp_path, text)
    assert pool.size is not None
    assert (pool.size.family, pool.size.cores, pool.size.architecture) == ("E", 4, "x64")
    assert pool.next_sizes
    assert pool.vm_size not in pool.next_sizes


def test_arm_only_where_it_is_asked_for(tmp_path):
    text = "pools:\n  - name: arm\n    requirements: {cores: 4%s}\n    nodes: {dedicated: 1}\n"
    assert one(tmp_path, text % "").size.architecture == "x64"
    assert one(tmp_path, text % ", architecture: arm64").size.architecture == "arm64"


def test_anchors_and_merged_keys(tmp_path):
    text = (
        "pools:\n  - &base\n    name: a\n    vm_size: Standard_D4s_v5\n    nodes: &nodes {dedicated: 2}\n"
        "  - {<<: *base, name: b, nodes: *nodes}\n"
    )
    first, second = read(tmp_path, text).pools
    assert (second.name, second.vm_size, second.dedicated) == ("b", first.vm_size, first.dedicated)


def test_a_size_of_the_users_own(tmp_path):
    text = SMALL.replace("Standard_D4s_v5", "Standard_Q4s_v9")
    text += "vm_sizes:\n  - {name: standard_q4s_v9, cores: 6, memory_gib: 12}\n"
    pools = read(tmp_path, text)
    assert (pools.pools[0].slots, pools.warnings) == (6, ())


def test_an_unknown_size_is_a_warning(tmp_path):
    pools = read(tmp_path, SMALL.replace("Standard_D4s_v5", "Standard_Q4s_v9") + "    task_slots: 3\n")
    assert pools.pools[0].slots == 3
    (warning,) = pools.warnings
    assert "pools.yaml:3: pools[0].vm_size: Standard_Q4s_v9 is not in the catalogue" in warning
    assert "take slots by their threads alone" in warning


REGISTRY = SMALL + "    registries:\n      - {server: foo.azurecr.io, username: me, password_env: SET}\n"
MOUNT = "    mounts:\n      - {type: blob, path: refs, account: foodata, container: refs, key_env: SET}\n"


def test_secrets_come_from_the_environment_and_are_never_shown(tmp_path):
    pools = read(tmp_path, REGISTRY + MOUNT, ENVIRONMENT)
    pool = pools.pools[0]
    assert (pool.registries[0].password, pool.mounts[0].key) == (SECRET, SECRET)
    assert SECRET not in repr(pools)


def test_a_pools_id_is_its_name_and_what_is_asked_for(tmp_path):
    pool = one(tmp_path, SMALL)
    assert re.fullmatch(r"smk-small-[0-9a-f]{10}", pool.pool_id)
    assert one(tmp_path, "# a comment\n" + SMALL + "    task_slots: 4\n").pool_id == pool.pool_id
    assert one(tmp_path, SMALL + "    task_slots: 5\n").pool_id != pool.pool_id
    assert one(tmp_path, SMALL.replace("D4s", "D8s")).pool_id != pool.pool_id


def test_a_new_password_is_no_new_pool(tmp_path):
    ids = {one(tmp_path, REGISTRY + MOUNT, {"SET": secret}).pool_id for secret in ("first", "second")}
    assert len(ids) == 1


def test_a_changed_start_script_is_a_new_pool(tmp_path):
    text = SMALL + "    start_task: {script: start.sh}\n"
    ids = set()
    for content in ("echo 1", "echo 2", "echo 1"):
        (tmp_path / "start.sh").write_text(content)
        ids.add(one(tmp_path, text).pool_id)
    assert len(ids) == 2


def test_a_start_task_that_is_too_large(tmp_path):
    import random

    (tmp_path / "start.sh").write_bytes(random.Random(1).randbytes(100_000))
    with pytest.raises(PoolsFileError, match=r"pools\.yaml:5: pools\[0\]\.start_task: .* bytes when packed"):
        read(tmp_path, SMALL + "    start_task: {script: start.sh}\n")


def test_the_users_own_id_is_used_as_it_is(tmp_path):
    pool = one(tmp_path, "pools:\n  - id: Mine_1\n")
    assert (pool.pool_id, pool.name, pool.vm_size, pool.slots) == ("Mine_1", "Mine_1", None, None)


def test_the_schema_for_editors_is_that_of_the_models():
    """Made by: python -m snakemake_executor_azurebatch.pools.schema > docs/pools.schema.json."""
    published = json.loads((ROOT / "docs" / "pools.schema.json").read_text())
    assert {k: v for k, v in published.items() if k not in ("$schema", "title")} == {
        k: v for k, v in PoolsFile.model_json_schema().items() if k != "title"
    }


def test_every_key_of_the_schema_is_explained():
    schema = PoolsFile.model_json_schema()
    for shape in (schema, *schema["$defs"].values()):
        assert all(key["description"] for key in shape["properties"].values())


def test_the_published_example_is_right():
    file = ROOT / "profiles" / "azure" / "pools.yaml"
    pools = read_pools(file, {"REGISTRY_PASSWORD": SECRET})
    assert len(pools.pools) >= 3
    assert not pools.warnings
    for line in file.read_text().splitlines():
        assert not line.strip() or "#" in line, f"a line without a comment: {line}"
