"""What a local service is started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

RuntimeChoice = Literal["auto", "docker", "podman", "process"]

#: The development account. Its key is public on purpose, as Azurite's is: it protects nothing.
DEVELOPMENT_ACCOUNT = "localbatch"
DEVELOPMENT_KEY = "bG9jYWwgQXp1cmUgQmF0Y2ggc2VydmljZSAtIGEga2V5IHRoYXQgZXZlcnlib2R5IGtub3dzISE="


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """One local Batch service."""

    state_dir: Path  #: node roots, the request log, service.json
    host: str = "127.0.0.1"
    port: int = 0  #: 0: any free one
    account: str = DEVELOPMENT_ACCOUNT
    key: str = DEVELOPMENT_KEY  #: base64
    max_active_jobs: int = 1000  #: quota of the account: jobs and job schedules that are not completed
    clock_speed: float = 1.0  #: seconds of the service's clock per second of the world
    simulate_s: tuple[float, float] | None = None  #: tasks take between these and run nothing; None: they run
    is_https: bool = False  #: with a certificate of its own; see ``ca_file``
    bearer_tokens: frozenset[str] | None = field(default=None, repr=False)  #: accepted; None: any well-formed one
    container_runtime: RuntimeChoice = "process"
    has_blob_faults: bool = False  #: blob storage is behind a proxy that can fail on purpose

    @property
    def request_log(self) -> Path:
        """JSON lines, one per request: time, method, route, status, duration_ms, client."""
        return self.state_dir / "requests.jsonl"

    @property
    def task_log(self) -> Path:
        """JSON lines, one per run of a task that has ended: what it took. See ``tasklog``."""
        return self.state_dir / "tasks.jsonl"

    @property
    def tls_dir(self) -> Path:
        """Certificates and key of a service with HTTPS."""
        return self.state_dir / "tls"

    @property
    def ca_file(self) -> Path:
        """The certificate that clients of a service with HTTPS have to trust."""
        return self.tls_dir / "ca.pem"

    @property
    def state_file(self) -> Path:
        """What survives a restart."""
        return self.state_dir / "state.db"

    @property
    def nodes_dir(self) -> Path:
        """Node roots: ``nodes/<pool id>/<node id>``, each what AZ_BATCH_NODE_ROOT_DIR names."""
        return self.state_dir / "nodes"
