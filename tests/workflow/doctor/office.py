"""A folder with a profile, and servers that know nothing but one thing."""

import base64
import json
import os
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml
from azure.batch import BatchClient
from azure.core.credentials import AzureNamedKeyCredential
from typer.testing import CliRunner

from snakemake_executor_azurebatch.cli.main import app

CLOSED = "http://127.0.0.1:1"
GOOD = {
    "executor": "azurebatch",
    "jobs": 4,
    "container-image": "127.0.0.1:1/tools:1",
    "azurebatch-os-image": "microsoft-dsvm:ubuntu-hpc:2404",
    "azurebatch-node-agent-sku": "batch.node.ubuntu 24.04",
}


class Office:
    """A folder with a profile, the local service's accounts, and the doctor."""

    def __init__(self, folder: Path, service, monkeypatch) -> None:
        self.folder = folder
        self.service = service
        self.set = monkeypatch.setenv
        for name in list(os.environ):
            if name.startswith(("AZURE", "BATCH", "STORAGE", "REGISTRY", "SNAKEMAKE_PROFILE")):
                monkeypatch.delenv(name)
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("COLUMNS", "120")
        monkeypatch.chdir(folder)

    def profile(self, **changes) -> None:
        settings = {**GOOD, **{name.replace("_", "-"): value for name, value in changes.items()}}
        settings = {name: value for name, value in settings.items() if value is not None}
        (self.folder / "p").mkdir(exist_ok=True)
        (self.folder / "p/config.yaml").write_text(yaml.safe_dump(settings))

    def call(self, *arguments):
        return CliRunner().invoke(app, ["doctor", "--profile", "p", *arguments], catch_exceptions=False)

    def findings(self, *arguments) -> tuple[int, list[dict]]:
        done = self.call("--json", *arguments)
        assert not any(key in done.output for key in self.keys), done.output
        return done.exit_code, json.loads(done.stdout)["findings"]

    @property
    def keys(self) -> list[str]:
        return [value for name, value in os.environ.items() if name.endswith(("ACCOUNT_KEY", "PASSWORD")) and value]

    def fails(self, about: str, said: str, mend: str, *arguments) -> None:
        """Exactly this is what is wrong; what is skipped follows from it."""
        code, found = self.findings(*arguments)
        failed = [one for one in found if one["verdict"] == "fail"]
        assert (code, [one["about"] for one in failed]) == (1, [about]), found
        assert said in failed[0]["said"], failed
        assert mend in failed[0]["mend"], failed

    def batch(self) -> BatchClient:
        key = self.service.environment["BATCH_ACCOUNT_KEY"]
        return BatchClient(self.service.batch_url, AzureNamedKeyCredential(self.service.account, key))


def other_key(key: str) -> str:
    return base64.b64encode(b"another" + base64.b64decode(key)[7:]).decode()


class Quiet(BaseHTTPRequestHandler):
    """Answers every request as ``respond`` does, and keeps quiet."""

    def respond(self) -> None:
        raise NotImplementedError

    def do_GET(self) -> None:
        self.respond()

    do_HEAD = do_PUT = do_GET  # noqa: N815 (as the base class wants it)

    def log_message(self, *_) -> None:
        """Nothing."""

    def answer(self, status: int, code: str = "") -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(status)
        if code:
            self.send_header("x-ms-error-code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]):
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
