"""Settings and environment, turned into options: every problem is told at once."""

import dataclasses

import pytest

from snakemake_executor_azurebatch.errors import SettingsError
from snakemake_executor_azurebatch.options import read_options
from snakemake_executor_azurebatch.settings import ExecutorSettings

KEY = "a2V5"
AZURE = {
    "BATCH_ACCOUNT_URL": "https://genomics.westeurope.batch.azure.com",
    "BATCH_ACCOUNT_KEY": KEY,
    "STORAGE_ACCOUNT_NAME": "genomics",
    "STORAGE_ACCOUNT_KEY": KEY,
}


def problems(settings: ExecutorSettings, environment: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        read_options(settings, environment)
    return caught.value.problems


def test_the_variables_of_superbatch_are_enough():
    options = read_options(ExecutorSettings(), AZURE)

    assert options.account is not None
    assert (options.account.name, options.account.key) == ("genomics", KEY)
    assert options.storage is not None
    assert options.storage.blob_url == "https://genomics.blob.core.windows.net"


def test_own_variables_go_before_the_older_names():
    options = read_options(ExecutorSettings(), {**AZURE, "SNAKEMAKE_AZUREBATCH_ACCOUNT_KEY": "b3du"})

    assert options.account is not None
    assert options.account.key == "b3du"


def test_quotes_around_a_value_are_dropped():
    options = read_options(ExecutorSettings(), {**AZURE, "BATCH_ACCOUNT_KEY": f'"{KEY}"'})

    assert options.account is not None
    assert options.account.key == KEY


def test_no_key_means_signing_in():
    environment = {k: v for k, v in AZURE.items() if not k.endswith("KEY")}

    options = read_options(ExecutorSettings(), environment)

    assert options.account is not None
    assert options.storage is not None
    assert (options.account.key, options.storage.key) == (None, None)


def test_a_connection_string_names_the_storage():
    connection = f"DefaultEndpointsProtocol=http;AccountName=dev;AccountKey={KEY};BlobEndpoint=http://127.0.0.1:1/dev;"

    options = read_options(ExecutorSettings(), {**AZURE, "STORAGE_ACCOUNT_CONNECTION_STRING": connection})

    assert options.storage is not None
    assert (options.storage.blob_url, options.storage.name, options.storage.key) == (
        "http://127.0.0.1:1/dev",
        "dev",
        KEY,
    )


def test_the_local_service_needs_no_account():
    options = read_options(ExecutorSettings(emulator=True), {})

    assert (options.account, options.storage) == (None, None)


def test_every_problem_is_told_at_once():
    settings = ExecutorSettings(vm_size=" ", dedicated_nodes=-1, os_image="ubuntu", pool_id="my pool", poll_interval=0)

    told = problems(settings, {})

    assert len(told) == 7
    assert told[0].startswith("no Batch account: give --azurebatch-account-url (or BATCH_ACCOUNT_URL)")
    assert told[1].startswith("no storage account: give --azurebatch-storage-account")
    assert "--azurebatch-dedicated-nodes: -1 is not between 0 and 10000" in told
    assert "--azurebatch-poll-interval: 0 is not between 0.1 and 3600" in told
    assert "--azurebatch-vm-size is empty: name a size, for example Standard_D4s_v5" in told


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"BATCH_ACCOUNT_URL": "https://"}, "is not a URL like https://myaccount.westeurope.batch.azure.com"),
        ({"BATCH_ACCOUNT_URL": "http://[::1"}, "is not a URL like"),
        ({"BATCH_ACCOUNT_URL": "http://127.0.0.1:8000"}, "--azurebatch-account-name (or BATCH_ACCOUNT_NAME) is needed"),
        ({"BATCH_ACCOUNT_KEY": "not base64!"}, "is not base64: it was not copied whole"),
        ({"STORAGE_ACCOUNT_NAME": "My_Account"}, "'My_Account' is not a storage account's name"),
        ({"STORAGE_ACCOUNT_CONNECTION_STRING": "AccountName=x"}, "the storage connection string is malformed"),
        ({"REGISTRY_SERVER": "x.azurecr.io"}, "a container registry needs all of"),
        (
            {"BATCH_ACCOUNT_URL": "http://127.0.0.1:1", "BATCH_ACCOUNT_NAME": "local", "BATCH_ACCOUNT_KEY": ""},
            "is not encrypted, so only an account key can be used",
        ),
    ],
)
def test_a_wrong_environment_is_told(changed, said):
    told = problems(ExecutorSettings(), {**AZURE, **changed})

    assert len(told) == 1
    assert said in told[0]


def test_a_service_that_ends_with_the_run_cannot_be_left():
    told = problems(ExecutorSettings(emulator=True, detach=True), {})

    assert len(told) == 1
    assert told[0].startswith("--azurebatch-detach: the local service that --azurebatch-emulator starts ends")


def test_several_pools_cannot_be_left():
    told = problems(ExecutorSettings(pools="pools.yaml", detach=True), AZURE)

    assert any("--azurebatch-detach works with one pool" in one for one in told)


def test_emulator_and_account_contradict_each_other():
    told = problems(ExecutorSettings(emulator=True, account_url="https://x.y.batch.azure.com"), {})

    assert len(told) == 1
    assert told[0].startswith("--azurebatch-emulator starts a service of its own: leave out --azurebatch-account-url")


@pytest.mark.parametrize("name", ["ab", "UPPER", "two--dashes", "-first", "x" * 64])
def test_a_blob_container_has_a_valid_name(name):
    told = problems(ExecutorSettings(emulator=True, blob_container=name), {})

    assert told[0].startswith(f"--azurebatch-blob-container: {name!r} cannot be a blob container's name")


def test_no_secret_is_ever_shown():
    secret = "c2VjcmV0LXNlY3JldA=="
    environment = {**AZURE, "BATCH_ACCOUNT_KEY": secret, "STORAGE_ACCOUNT_KEY": secret}
    settings = ExecutorSettings(registry_server="r.io", registry_username="me")

    shown = repr(read_options(settings, {**environment, "REGISTRY_PASSWORD": secret}))

    assert secret not in shown


def test_every_setting_has_a_help_text_and_secrets_are_no_settings():
    for field in dataclasses.fields(ExecutorSettings):
        assert len(field.metadata["help"]) > 20, field.name
        assert not any(word in field.name for word in ("key", "password", "secret", "connection_string"))


@pytest.mark.parametrize(
    ("text", "kept_s"),
    [
        ("run", 0),
        ("forever", None),
        ("12h", 43_200),
        ("7d", 604_800),
        ("1.5w", 907_200),
        (" Run ", 0),
        ("2 D", 172_800),
    ],
)
def test_how_long_blobs_stay(text, kept_s):
    assert read_options(ExecutorSettings(blob_retention=text), AZURE).keep_blobs_s == kept_s


@pytest.mark.parametrize("text", ["", "7", "0d", "-1d", "7 days", "never", "1e9d", "7m"])
def test_times_that_are_none(text):
    [problem] = problems(ExecutorSettings(blob_retention=text), AZURE)
    assert problem.startswith(f"--azurebatch-blob-retention: {text!r} is not")


@pytest.mark.parametrize(
    ("cache", "free", "limits"),
    [
        (None, None, (None, None)),
        ("off", None, (0, None)),
        ("200G", "1.5T", (200 << 30, 3 << 39)),
        ("5GiB", "9mb", (5 << 30, 9 << 20)),
    ],
)
def test_limits_of_the_node_cache(cache, free, limits):
    found = read_options(ExecutorSettings(node_cache=cache, node_free=free), AZURE).node_cache
    assert (found.max_bytes, found.min_free_bytes) == limits


@pytest.mark.parametrize("text", ["", "200", "0G", "-1G", "20%", "1K", "lots"])
def test_sizes_that_are_none(text):
    found = problems(ExecutorSettings(node_cache=text, node_free=text), AZURE)
    assert [problem.split(":")[0] for problem in found] == ["--azurebatch-node-cache", "--azurebatch-node-free"]


@pytest.mark.parametrize("name", ["lane", "staging", "keep_task_files", "scaling"])
def test_a_word_that_is_not_known_is_told_with_those_that_are(name):
    (told,) = problems(ExecutorSettings(**{name: "some"}), AZURE)

    assert told.startswith(f"--azurebatch-{name.replace('_', '-')}: 'some' is not one of ")
