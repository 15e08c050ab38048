"""Container engines that work here, an image without a registry, and a registry without a network."""

import atexit
import base64
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from snakemake_executor_azurebatch.emulator.agent.engine import OWNER_LABEL

FIXTURES = Path(__file__).parent.parent / "fixtures" / "containers"
LIMIT_S = 120
IMAGE = "localhost/azurebatch-test:1"
PROGRAMS = ("sh", "cat", "env", "id", "ls", "pwd", "sleep", "stat", "touch", "seq")
#: What the image itself says.
IMAGE_COMMAND = ["/bin/sh", "-c", "echo from the image"]
IMAGE_FOLDER = "/opt/work"


@dataclass(frozen=True)
class Tool:
    """An engine. ``command`` is what the service is told in its environment."""

    command: tuple[str, ...]
    environment: dict[str, str]
    root_file_system: Path  #: what IMAGE was made of: an archive

    def __call__(self, *arguments):
        environment = {**os.environ, **self.environment}
        argv = [*self.command, *arguments]
        return subprocess.run(argv, env=environment, capture_output=True, timeout=LIMIT_S, check=True).stdout.decode()

    @property
    def kind(self):
        return self.command[0]

    @property
    def text(self):
        return shlex.join(self.command)

    def make_image(self):
        changes = (f"CMD {json.dumps(IMAGE_COMMAND)}", f"WORKDIR {IMAGE_FOLDER}")
        self("import", *(word for text in changes for word in ("--change", text)), str(self.root_file_system), IMAGE)
        self("run", "--rm", "--network", "host", IMAGE)

    def services_containers(self):
        """Ids of all containers that services have made."""
        return self("ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={OWNER_LABEL}").split()


def find_tool(kind, folder):
    """A Tool whose containers run, with IMAGE; or the reason why there is none."""
    missing = [name for name in (kind, "busybox") if shutil.which(name) is None]
    if missing:
        return f"{' and '.join(missing)} not installed"
    root, why = _root_file_system(folder), b""
    for options, environment in _podman_variants(folder) if kind == "podman" else [((), {})]:
        tool = Tool((kind, *options), environment, root)
        try:
            tool.make_image()
        except subprocess.SubprocessError as error:
            why = getattr(error, "stderr", b"") or str(error).encode()
        else:
            return tool
    return f"{kind} does not work here: {why.decode(errors='replace').strip()}"


def _podman_variants(folder):
    """Storage of its own; then for machines that allow less."""

    def storage(name):
        return ("--root", str(folder / f"store-{name}"), "--runroot", str(_short_folder()))

    yield storage("plain"), {}
    less = ("--cgroup-manager=cgroupfs", "--storage-driver=vfs")
    yield (*storage("less"), *less), {}
    least = ("--runtime", str(FIXTURES / "plain-runc"))
    yield (*storage("least"), *less, *least), {"CONTAINERS_CONF": str(FIXTURES / "containers.conf")}


def _short_folder():
    """Podman refuses a run root whose path has more than 50 characters; this one is gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="smk-", dir="/tmp"))

    def remove():
        unmount_below(folder)
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


def unmount_below(folder):
    """Podman leaves mounts in its storage, which then cannot be deleted."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        where = line.split()[1].encode().decode("unicode_escape")
        if Path(where).is_relative_to(folder):
            subprocess.run(["umount", where], check=False)


def _root_file_system(folder):
    """An archive with busybox, which needs nothing else."""
    root = folder / "root"
    for name in ("bin", "etc", "tmp", IMAGE_FOLDER[1:]):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    shutil.copy(shutil.which("busybox"), root / "bin/busybox")
    for name in PROGRAMS:
        (root / "bin" / name).symlink_to("busybox")
    archive = folder / "root.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(root, ".")
    return archive


class Registry:
    """A container registry on this machine that serves one image, ``busy:1``, to one user.

    source: public specification of the OCI distribution API
    """

    def __init__(self, root_file_system, user, password):
        self.accepted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self.answers = {}
        layer = root_file_system.read_bytes()
        config = {
            "architecture": os.uname().machine.replace("x86_64", "amd64").replace("aarch64", "arm64"),
            "os": "linux",
            "config": {"Cmd": IMAGE_COMMAND, "Env": ["PATH=/bin"], "WorkingDir": IMAGE_FOLDER},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": self._blob(json.dumps(config).encode(), "application/vnd.docker.container.image.v1+json"),
            "layers": [self._blob(layer, "application/vnd.docker.image.rootfs.diff.tar")],
        }
        self.kind = manifest["mediaType"]
        body = json.dumps(manifest).encode()
        for name in ("1", _digest(body)):
            self.answers[f"/v2/busy/manifests/{name}"] = body
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)

    def _blob(self, content, kind):
        self.answers[f"/v2/busy/blobs/{_digest(content)}"] = content
        return {"mediaType": kind, "size": len(content), "digest": _digest(content)}

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def answer_to(self, path, authorization):
        """Status, content and headers."""
        if authorization != self.accepted:
            return 401, b'{"errors": [{"code": "UNAUTHORIZED"}]}', {"WWW-Authenticate": 'Basic realm="test"'}
        if path == "/v2/":
            return 200, b"{}", {}
        if path not in self.answers:
            return 404, b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}', {}
        body = self.answers[path]
        kind = self.kind if "/manifests/" in path else "application/octet-stream"
        return 200, body, {"Content-Type": kind, "Docker-Content-Digest": _digest(body)}

    def _handler(self):
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self):
                self._answer()

            def do_GET(self):
                self.wfile.write(self._answer())

            def _answer(self):
                status, body, headers = registry.answer_to(self.path, self.headers.get("Authorization"))
                self.send_response(status)
                for name, value in ({"Content-Type": "application/json"} | headers).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                return body

            def log_message(self, *arguments):
                pass

        return Handler


def _digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


#: A service that is going to be killed: one node, one container that sleeps.
DOOMED = """
import asyncio, sys
from pathlib import Path
from snakemake_executor_azurebatch.emulator.agent.agent import NodeAgent
from snakemake_executor_azurebatch.emulator.agent.containers import ContainerRuntime
from snakemake_executor_azurebatch.emulator.agent.work import NodePlace, TaskWork

async def main(root, owner, kind, image):
    agent = NodeAgent(NodePlace(root, "p", "n", True, "a", "u"), await ContainerRuntime.choose(kind, owner))
    body = {"commandLine": "sh -c 'echo up; sleep 600'", "containerSettings": {"imageName": image}}
    await agent.run(TaskWork("j", "t", body))

asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
"""


def doomed_service(root, owner, kind):
    """The process of DOOMED. It finds its engine as this process does."""
    return subprocess.Popen([sys.executable, "-c", DOOMED, str(root), owner, kind, IMAGE])
