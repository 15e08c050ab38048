"""What a user can set: the ``--azurebatch-*`` options of ``snakemake``, in the flat shape that it wants.

Secrets are never settings, so that they cannot end up on a command line or in a profile; see ``options``.
Types are spelled as Snakemake understands them: it reads them from the fields, and knows Optional but no "|".
"""

from dataclasses import dataclass, field
from typing import Any, Optional

from snakemake_interface_executor_plugins.settings import ExecutorSettingsBase

from snakemake_executor_azurebatch.parse_reads import PARSE_READS


def _setting(default: Any, text: str, **metadata: Any) -> Any:  # noqa: ANN401 (dataclasses.field says Any too)
    return field(default=default, metadata={"help": text, **metadata})


@dataclass
class ExecutorSettings(ExecutorSettingsBase):
    """The ``--azurebatch-*`` options of ``snakemake``."""

    emulator: bool = _setting(
        False,
        "Run on the local Azure Batch service that ships with this plugin, no Azure account needed. One is started "
        "for this run (or the one that 'snakemake-azurebatch emulator start' started is used) and what was started "
        'is stopped at the end. Needs: pip install "snakemake-executor-plugin-azurebatch[emulator]".',
    )
    account_url: Optional[str] = _setting(
        None,
        "URL of the Batch account, for example https://myaccount.westeurope.batch.azure.com. The key is read from "
        "SNAKEMAKE_AZUREBATCH_ACCOUNT_KEY or BATCH_ACCOUNT_KEY; without one, you are signed in as azure-identity "
        "finds you (az login, managed identity, ...).",
        env_var=True,
    )
    account_name: Optional[str] = _setting(
        None, "Name of the Batch account. Default: the first part of the account URL's host.", env_var=True
    )
    account_resource_id: Optional[str] = _setting(
        None,
        "Resource id of the Batch account (/subscriptions/.../batchAccounts/NAME). For pools of --azurebatch-pools "
        "with managed identities or tags, which are made through Azure Resource Manager, as whoever is signed in. "
        'Needs: pip install "snakemake-executor-plugin-azurebatch[identity]".',
        env_var=True,
        metavar="ID",
    )
    storage_account: Optional[str] = _setting(
        None,
        "Name of the storage account, or the URL of its blob endpoint. The key is read from "
        "SNAKEMAKE_AZUREBATCH_STORAGE_ACCOUNT_KEY or STORAGE_ACCOUNT_KEY, or a connection string from "
        "SNAKEMAKE_AZUREBATCH_STORAGE_CONNECTION_STRING or STORAGE_ACCOUNT_CONNECTION_STRING.",
        env_var=True,
    )
    blob_container: Optional[str] = _setting(
        None, "Blob container for the files of this workdir. Default: one of its own, named after the folder."
    )
    pool_id: Optional[str] = _setting(
        None,
        "Pool to run on. Used as it is where it exists, made where it does not. Default: a pool that is named by "
        "what is asked for, so that the next run with equal settings finds it again.",
    )
    pools: Optional[str] = _setting(
        None,
        "File that describes the pools (pools.yaml), in place of one pool of the settings: each job goes to the "
        "cheapest that has what its rule asks for. In a profile, the path may be relative to the profile's folder.",
        metavar="FILE",
    )
    vm_size: str = _setting("Standard_D4s_v5", "VM size of the pool's nodes.", metavar="SIZE")
    dedicated_nodes: int = _setting(1, "Most dedicated nodes that the pool gets.", metavar="N")
    spot_nodes: int = _setting(0, "Most spot (low-priority) nodes that the pool gets.", metavar="N")
    scaling: str = _setting(
        "lease",
        "How many nodes a pool has that this plugin makes: 'lease' gives it what jobs need, and none when no run is "
        "there; 'fixed' gives it all nodes, which stay, and cost, until the pool is deleted or resized.",
        metavar="lease|fixed",
    )
    task_slots_per_node: Optional[int] = _setting(
        None,
        "Tasks that may run on one node at the same time; a rule takes as many slots as it has threads. "
        "Default: 1; on the local service that a run starts, the cores of this machine.",
        type=int,
        metavar="N",
    )
    os_image: str = _setting(
        "microsoft-dsvm:ubuntu-hpc:2204",
        "Marketplace image of the nodes, as publisher:offer:sku. It has to be one that runs containers.",
        metavar="PUBLISHER:OFFER:SKU",
    )
    node_agent_sku: str = _setting(
        "batch.node.ubuntu 22.04", "Node agent SKU that goes with the marketplace image.", metavar="SKU"
    )
    registry_server: Optional[str] = _setting(None, "Container registry to sign in to, for example myreg.azurecr.io.")
    registry_username: Optional[str] = _setting(
        None,
        "User name for the container registry. The password is read from SNAKEMAKE_AZUREBATCH_REGISTRY_PASSWORD "
        "or REGISTRY_PASSWORD.",
    )
    subnet_id: Optional[str] = _setting(None, "Resource id of the subnet that the pool's nodes join.")
    poll_interval: float = _setting(
        2.0,
        "Seconds between two looks at the tasks: one request per look for the whole run. After a time without tasks "
        "the first looks follow each other quicker.",
        metavar="SECONDS",
    )
    infrastructure_retries: int = _setting(
        3,
        "How often a job is submitted again that infrastructure has failed (a node that was lost, an image that could "
        "not be fetched for now, blob storage that did not answer, ...). None of Snakemake's --retries is spent for "
        "that.",
        metavar="N",
    )
    spot_preemptions: int = _setting(
        3,
        "How often a task may lose its node, before it goes to dedicated nodes (with --azurebatch-pools): to a pool "
        "without spot nodes, or one that is made for that. 0: it never does.",
        metavar="N",
    )
    service_patience: float = _setting(
        60.0,
        "Minutes that Azure may be unreachable, busy, or refuse the credentials before jobs fail for it.",
        metavar="MINUTES",
    )
    pool_patience: float = _setting(
        20.0,
        "Minutes that tasks wait for a pool that cannot run any (only broken nodes, no quota, none to be had) before "
        "jobs fail for it.",
        metavar="MINUTES",
    )
    sas_hours: float = _setting(
        24.0,
        "Hours that a run goes on without its controller: then its Batch job ends, and its tasks' access to the blob "
        "container. Both are extended while snakemake runs; but without a storage account key, the access of a task "
        "ends so long after it was given, so give more than the longest job waits and takes.",
        metavar="HOURS",
    )
    blob_retention: str = _setting(
        "7d",
        "How long blobs of this workdir stay in the blob container that nothing here needs any more (files of old "
        "tasks, inputs that have changed or are gone, old sources): 'run' removes them when a run ends, a time like "
        "12h, 7d or 4w when they are that old, 'forever' never. What a local file still stands for is always kept.",
        metavar="TIME",
    )
    node_cache: Optional[str] = _setting(
        None,
        "Most that the cache of inputs on a node may take, for example 200G, or 'off' for no cache. Default: as much "
        "as leaves --azurebatch-node-free free.",
        metavar="SIZE",
    )
    node_free: Optional[str] = _setting(
        None,
        "What the cache of inputs on a node leaves free of the node's disk, for example 20G. Default: a tenth of it, "
        "2 GiB at least.",
        metavar="SIZE",
    )
    keep_task_files: str = _setting(
        "failed",
        "Which completed tasks' files stay on their node, for seven days at most: 'failed' those of tasks that have "
        "failed, 'all', or 'none'. What a task wrote at the controller's own path in its container never stays. Where "
        "Azure Batch itself moves the files (lane 'batch' of staging), 'failed' is as 'all'.",
        metavar="failed|all|none",
    )
    extra_files: Optional[str] = _setting(
        None,
        "Further files and folders that every job needs besides the workflow's sources, separated by commas.",
        metavar="PATHS",
    )
    run_elevated: bool = _setting(
        False,
        "Run tasks as administrator, who is root in the task's container. Needed for outputs with absolute paths where "
        "the user that Azure Batch makes for tasks cannot make the working directory's path in the container.",
    )
    lane: str = _setting(
        "auto",
        "How jobs run whose rule does not say it (resources: azurebatch_lane=...): 'shell' runs the rendered shell "
        "command as it is, 'snakemake' runs Snakemake in the task, 'auto' takes shell where nothing needs Snakemake.",
        metavar="auto|shell|snakemake",
    )
    staging: str = _setting(
        "auto",
        "Who moves the files of rendered commands whose rule does not say it (resources: azurebatch_staging=...): "
        "'stager' is this plugin's own program, which needs Python in the image, 'batch' is Azure Batch itself, "
        "'auto' takes the stager in the image of the run and Azure Batch in every other.",
        metavar="auto|stager|batch",
    )
    rule_containers: bool = _setting(
        False, "Run the jobs of rules with 'container:' in that image, as tasks of Azure Batch."
    )
    no_prefetch: bool = _setting(
        False,
        "Do not let the nodes of a new pool fetch the images that rules name before they take tasks. An image that "
        "cannot be fetched beforehand makes its node unusable; without, only the jobs that need it fail.",
    )
    delete_pool: bool = _setting(False, "Delete the pool when the run ends.")
    detach: bool = _setting(
        False,
        "Submit what is ready, and leave: the tasks go on, for seven times --azurebatch-sas-hours. The same command, "
        "given again, takes what is finished and goes on with the rest.",
    )
    delete_job: bool = _setting(False, "Delete the Batch job when the run ends, instead of only terminating it.")

    def __post_init__(self) -> None:
        """Snakemake makes the settings before it reads the Snakefile: what that reads is noted from here on."""
        PARSE_READS.listen()
