"""What is on a node: files, users, extensions, log files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from azure.batch import models as m
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError

from .conftest import code_of, pool, values_of, wait_until


@pytest.fixture
def node(batch, name):
    """Id of the only node of a pool of the test's name."""
    batch.create_pool(pool(name))
    wait_until(lambda: [node.state for node in batch.list_nodes(name)] == ["idle"])
    return next(iter(batch.list_nodes(name))).id


@pytest.fixture
def used(bench):
    """Id of the bench's node, on which a task left files."""
    bench.add("t", "echo done > $AZ_BATCH_NODE_SHARED_DIR/test.txt; mkdir -p a/b; echo 12345 > a/b/c.txt")
    return bench.wait_for("t").node_info.node_id


# -- files ----------------------------------------------------------------------------------------


def test_the_root_of_a_node(batch, name, node):
    found = list(batch.list_node_files(name, node))
    assert [item.name for item in found] == [
        "applications", "fsmounts", "shared", "startup", "volatile", "workitems",
    ]  # fmt: skip
    assert all(item.is_directory for item in found)


def test_a_deep_listing_goes_level_by_level(bench, used):
    found = list(bench.batch.list_node_files(bench.id, used, recursive=True))
    names = [item.name for item in found]
    depths = [name.count("/") for name in names]
    assert depths == sorted(depths)
    root = f"workitems/{bench.id}/job-1/t"
    assert {"shared/test.txt", f"{root}/stdout.txt", f"{root}/wd/a/b/c.txt"} <= set(names)
    shared = found[names.index("shared/test.txt")]
    assert shared.url.endswith(f"/pools/{bench.id}/nodes/{used}/files/shared/test.txt")
    assert (shared.properties.content_length, shared.properties.file_mode[:5]) == (5, "0o100")
    some = bench.batch.list_node_files(bench.id, used, recursive=True, filter="startswith(name,'shared/')")
    assert [item.name for item in some] == ["shared/test.txt"]
    paged = bench.batch.list_node_files(bench.id, used, recursive=True, max_results=2)
    assert [item.name for item in paged] == names


def test_get_head_and_delete_a_file(bench, used):
    batch, path = bench.batch, "shared/test.txt"
    assert b"".join(batch.download_node_file(bench.id, used, path)) == b"done\n"
    assert b"".join(batch.download_node_file(bench.id, used, path, ocp_range="bytes=1-2")) == b"on"
    assert batch.get_node_file_properties(bench.id, used, path).content_length == 5
    batch.delete_node_file(bench.id, used, path)
    with pytest.raises(ResourceNotFoundError):
        batch.get_node_file_properties(bench.id, used, path)
    with pytest.raises(ResourceNotFoundError) as missing:
        batch.delete_node_file(bench.id, used, path)
    assert code_of(missing) == "FileNotFound"


def test_a_full_directory_is_deleted_on_demand_only(bench, used):
    batch, path = bench.batch, f"workitems/{bench.id}/job-1/t/wd/a"
    assert batch.get_node_file_properties(bench.id, used, path).is_directory is True
    with pytest.raises(ResourceExistsError) as refused:
        batch.delete_node_file(bench.id, used, path)
    assert code_of(refused) == "OperationInvalidForCurrentState"
    batch.delete_node_file(bench.id, used, path, recursive=True)
    assert [item.name for item in batch.list_task_files(bench.id, "t", recursive=True)][-1] == "wd"


@pytest.mark.parametrize("path", ["nothing", "../x", "shared/../../x", "/etc/hostname"])
def test_what_is_no_file_of_the_node(batch, name, node, path):
    with pytest.raises(ResourceNotFoundError) as missing:
        batch.delete_node_file(name, node, path)
    assert "(FileNotFound) The specified file does not exist." in str(missing.value)


# -- users ----------------------------------------------------------------------------------------


def test_users_come_and_go(batch, name, node):
    batch.create_node_user(name, node, m.BatchNodeUserCreateOptions(name="ann", is_admin=True, password="a secret"))
    with pytest.raises(ResourceExistsError) as refused:
        batch.create_node_user(name, node, m.BatchNodeUserCreateOptions(name="ann", password="a secret"))
    assert "(NodeUserExists) The specified node user already exists." in str(refused.value)
    later = datetime.now(UTC) + timedelta(days=2)
    batch.replace_node_user(name, node, "ann", m.BatchNodeUserReplaceOptions(ssh_public_key="AAAA", expiry_time=later))
    batch.delete_node_user(name, node, "ann")
    for missing_user in (
        lambda: batch.delete_node_user(name, node, "ann"),
        lambda: batch.replace_node_user(name, node, "ann", m.BatchNodeUserReplaceOptions(password="p")),
    ):
        with pytest.raises(ResourceNotFoundError) as missing:
            missing_user()
        assert "(NodeUserNotFound) The specified node user does not exist." in str(missing.value)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"name": "not a name", "password": "p"}, "name"),
        ({"name": "u"}, "password"),
        ({"name": "u", "password": "p", "expiry_time": datetime(2020, 1, 1, tzinfo=UTC)}, "expiryTime"),
    ],
)
def test_users_that_cannot_be(batch, name, node, options, named):
    with pytest.raises(HttpResponseError) as refused:
        batch.create_node_user(name, node, m.BatchNodeUserCreateOptions(**options))
    assert (code_of(refused), values_of(refused)["PropertyName"]) == ("InvalidPropertyValue", named)


def test_passwords_are_not_written_down(batch, name, node, service):
    secret = "Correct-Horse-47"
    batch.create_node_user(name, node, m.BatchNodeUserCreateOptions(name="ann", password=secret))
    written = [path for path in service.config.state_dir.iterdir() if path.is_file()]
    assert written
    assert [path for path in written if secret.encode() in path.read_bytes()] == []


# -- ways in and out ------------------------------------------------------------------------------


def test_remote_login_settings(batch, name, node):
    found = batch.get_node_remote_login_settings(name, node)
    shown = batch.get_node(name, node).endpoint_configuration.inbound_endpoints[0]
    assert (found.remote_login_ip_address, found.remote_login_port) == ("127.0.0.1", shown.frontend_port)


def test_extensions_of_nodes(batch, name, node):
    assert list(batch.list_node_extensions(name, node)) == []
    with pytest.raises(ResourceNotFoundError) as missing:
        batch.get_node_extension(name, node, "x")
    assert code_of(missing) == "ResourceNotFound"


def test_upload_of_log_files(batch, name, node):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    found = batch.upload_node_logs(
        name, node, m.UploadBatchServiceLogsOptions(container_url="http://127.0.0.1:1/c?sig=x", start_time=start)
    )
    assert found.virtual_directory_name.split("/")[1:3] == [name, node]
    assert found.number_of_files_uploaded > 0
    with pytest.raises(HttpResponseError) as refused:
        batch.upload_node_logs(name, node, m.UploadBatchServiceLogsOptions(container_url="c", start_time=start))
    assert (code_of(refused), values_of(refused)["PropertyName"]) == ("InvalidPropertyValue", "containerUrl")


@pytest.mark.parametrize(
    "ask",
    [
        lambda batch, pool_id: list(batch.list_node_files(pool_id, "nobody")),
        lambda batch, pool_id: batch.get_node_remote_login_settings(pool_id, "nobody"),
        lambda batch, pool_id: list(batch.list_node_extensions(pool_id, "nobody")),
        lambda batch, pool_id: batch.delete_node_user(pool_id, "nobody", "u"),
        lambda batch, pool_id: batch.delete_node_file(pool_id, "nobody", "x"),
    ],
)
def test_a_node_that_is_not_there(batch, bench, ask):
    with pytest.raises(ResourceNotFoundError) as missing:
        ask(batch, bench.id)
    assert code_of(missing) == "NodeNotFound"
