"""The profile that ``setup`` writes: a folder with a commented config.yaml and pools.yaml."""

from __future__ import annotations

import uuid
from importlib.resources import files
from pathlib import Path

from snakemake_executor_azurebatch.errors import AzureBatchError
from snakemake_executor_azurebatch.provisioning.names import Names

CONFIG, POOLS = "config.yaml", "pools.yaml"
_DATA = files("snakemake_executor_azurebatch.provisioning.data")


def template_path() -> Path:
    """The Bicep template. It ships with the package, which is always installed as files."""
    return Path(str(_DATA / "azure.bicep"))


def contents(names: Names, folder: Path) -> dict[str, str]:
    """The files of a profile, by name (pure, but for reading the templates)."""
    server = names.registry_server or "REGISTRY.azurecr.io"
    values = {
        "FOLDER": str(folder),
        "ACCOUNT_URL": names.account_url,
        "STORAGE": names.storage,
        "IMAGE": f"{server}/NAME:1",
        "SERVER": server,
    }
    pools = "pools_identity.yaml" if names.identity else "pools.yaml"
    return {CONFIG: _filled("config.yaml", values), POOLS: _filled(pools, values)}


def write(folder: Path, texts: dict[str, str], *, overwrite: bool) -> None:
    """Write all files or none.

    Raises AzureBatchError where one is there already, is another, and is not to be overwritten.
    """
    there = [name for name, text in texts.items() if _differs(folder / name, text)]
    if there and not overwrite:
        raise AzureBatchError(
            f"{', '.join(str(folder / name) for name in there)}: there already, and nothing was written. Another "
            "folder: --profile NAME; to write over what is there: --overwrite"
        )
    fresh = {name: folder / f".{name}.{uuid.uuid4().hex}" for name in texts}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            fresh[name].write_text(text, encoding="utf-8")
        for name, temporary in fresh.items():
            temporary.replace(folder / name)
    except OSError as error:
        raise AzureBatchError(f"The profile cannot be written to {folder}: {error.strerror}") from error
    finally:
        for temporary in fresh.values():
            temporary.unlink(missing_ok=True)


def _differs(file: Path, text: str) -> bool:
    try:
        return file.read_text(encoding="utf-8") != text
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True


def _filled(template: str, values: dict[str, str]) -> str:
    text = (_DATA / template).read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text
