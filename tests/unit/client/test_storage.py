"""Files of storage providers: with the plugins' own objects, and stand-ins for Snakemake's workflow and job."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake.io import IOFile, flag

from snakemake_executor_azurebatch.errors import StagingError
from snakemake_executor_azurebatch.storage import Providers, StoredObject

snakemake_storage_plugin_azure = pytest.importorskip("snakemake_storage_plugin_azure")
snakemake_storage_plugin_fs = pytest.importorskip("snakemake_storage_plugin_fs")

KEY = "a2V5"
COPIES = ".snakemake/storage"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AZURITE_CONNECTION_STRING", raising=False)
    return tmp_path


def azure(tag: str = "azure") -> Any:
    settings = snakemake_storage_plugin_azure.StorageProviderSettings(account_name="acc")
    return snakemake_storage_plugin_azure.StorageProvider(
        local_prefix=Path(COPIES) / tag, logger=logging.getLogger(), settings=settings
    )


def fs() -> Any:
    return snakemake_storage_plugin_fs.StorageProvider(local_prefix=Path(COPIES) / "fs", logger=logging.getLogger())


def workflow(local: str = COPIES, remote: str = COPIES, **known: Any) -> Any:
    settings = SimpleNamespace(local_storage_prefix=Path(local), remote_job_local_storage_prefix=Path(remote))
    return SimpleNamespace(storage_registry=SimpleNamespace(_storages=known), storage_settings=settings)


def stored(provider: Any, query: str, *flags: str, **options: Any) -> Any:
    item = provider.object(query, **options)
    file = flag(str(item.local_path()), "storage_object", item)
    for name in flags:
        file = flag(file, name)
    return IOFile(file)


def job(inputs: tuple[Any, ...] = (), outputs: tuple[Any, ...] = (), logs: tuple[Any, ...] = ()) -> Any:
    rule = SimpleNamespace(name="r")
    return SimpleNamespace(input=inputs, output=outputs, log=logs, benchmark=None, rule=rule)


def test_which_provider_is_served_by_whom() -> None:
    one, two, three = azure(), azure("second"), fs()
    providers = Providers(workflow(azure=one, second=two, fs=three))
    assert (providers.staged, providers.in_task, providers.used) == (["azure"], ["fs"], {"azure", "second", "fs"})
    file = stored(two, "az://c/in/a b.txt", "touch")
    assert providers.is_staged(file)
    assert providers.describe(file, "copy", 3) == StoredObject(
        "copy", "second", "az://c/in/a b.txt", "c", "in/a b.txt", 3, touch=True
    )
    assert providers.client("second") is two.bsc
    assert not providers.is_staged(stored(one, "az://c/a", retrieve=False))
    assert not providers.is_staged(stored(three, "/a"))
    assert not providers.is_staged(IOFile("a"))


def test_nothing_is_wrong_with_ordinary_files() -> None:
    one, two = azure(), fs()
    providers = Providers(workflow(azure=one, fs=two))
    files = (stored(one, "az://c/a"), stored(two, "/absolute", "directory"), IOFile("local"))
    assert list(providers.problems(job(files, (*files, stored(one, "az://c/t", "temp", "touch")), files))) == []


@pytest.mark.parametrize(
    ("flags", "make", "query", "problem"),
    [
        (("update",), azure, "az://c/a", "update() cannot be used in storage"),
        (("directory",), azure, "az://c/a", "directory() cannot be used in Azure Blob Storage"),
        ((), fs, "relative/a", "a relative path of the fs storage provider"),
    ],
)
def test_what_cannot_work_names_rule_file_and_way_out(
    flags: tuple[str, ...], make: Callable[[], Any], query: str, problem: str
) -> None:
    provider = make()
    providers = Providers(workflow(any=provider))
    [found] = providers.problems(job(outputs=(stored(provider, query, *flags),)))
    assert found.startswith(f"rule r: {query}: {problem}")


def test_local_copies_lie_at_the_same_relative_path() -> None:
    for local, remote, option in (
        ("/scratch", COPIES, "--local-storage-prefix /scratch"),
        ("../copies", COPIES, "--local-storage-prefix ../copies"),
        (COPIES, "$TMPDIR/copies", "--remote-job-local-storage-prefix $TMPDIR/copies"),
    ):
        provider = azure()
        providers = Providers(workflow(local, remote, azure=provider))
        [found] = providers.problems(job((stored(provider, "az://c/a"),)))
        assert found.startswith(option)
        assert not list(providers.problems(job((IOFile("local"),))))


def test_another_local_copy_than_the_stand_in_has_is_refused() -> None:
    provider = azure()
    file = stored(provider, "az://c/a")
    provider.local_prefix = Path("elsewhere")
    [found] = Providers(workflow(azure=provider)).problems(job((file,)))
    assert "keeps its local copy as .snakemake/storage/azure/c/a, not as elsewhere/c/a" in found


def test_an_unknown_version_of_the_plugin_is_refused() -> None:
    provider = azure()
    file = stored(provider, "az://c/a")
    del file.storage_object.blob_path
    [found] = Providers(workflow(azure=provider)).problems(job((file,)))
    assert "Use snakemake-storage-plugin-azure 0.4.4" in found


def test_a_credential_that_cannot_sign_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "BlobEndpoint=https://acc.blob.core.windows.net"
    monkeypatch.setenv("AZURITE_CONNECTION_STRING", f"{url};SharedAccessSignature=sv=1&sig=secret")
    provider = azure()
    [found] = Providers(workflow(azure=provider)).problems(job((stored(provider, "az://c/a"),)))
    assert "cannot make one" in found
    assert "secret" not in found
    monkeypatch.setenv("AZURITE_CONNECTION_STRING", f"{url};AccountName=acc;AccountKey={KEY}")
    provider = azure()
    assert not list(Providers(workflow(azure=provider)).problems(job((stored(provider, "az://c/a"),))))


def test_what_fs_has_stored_out_of_sight_is_told(folder: Path) -> None:
    provider = fs()
    providers = Providers(workflow(fs=provider))
    seen = folder / "seen.txt"
    seen.touch()
    not_expected = stored(provider, f"{folder}/gone.txt", "temp"), stored(provider, f"{folder}/not.txt", retrieve=False)
    providers.check_stored(job(outputs=(IOFile("local"), stored(provider, str(seen)), *not_expected)))
    with pytest.raises(StagingError, match=r"rule r: the task has stored .*/missing.txt, which is not to be found"):
        providers.check_stored(job(outputs=(stored(provider, f"{folder}/missing.txt"),)))
