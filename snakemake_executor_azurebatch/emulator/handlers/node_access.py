"""Operations on what is on a node: its files, its users, and the ways to get in.

Assumed where a local node, a directory of this machine, can do no better: users and the address for logging in
are kept and shown, but nobody can log in with them; a request to upload log files is answered as the service
does, and nothing is sent; nodes have no extensions. Replacing a user that is not there is NodeUserNotFound; a
user needs a password or a public key; the files of a node that is off or lost are refused with
OperationInvalidForCurrentState.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from datetime import timedelta
from urllib.parse import urlsplit

from snakemake_executor_azurebatch.emulator import directories, faults
from snakemake_executor_azurebatch.emulator.calls import Answer, Call
from snakemake_executor_azurebatch.emulator.directories import Directory
from snakemake_executor_azurebatch.emulator.faults import ServiceFault, invalid_property
from snakemake_executor_azurebatch.emulator.handlers.nodes import accepted, find_node, find_usable_node
from snakemake_executor_azurebatch.emulator.listing import page
from snakemake_executor_azurebatch.emulator.wire import Json, node_url, parse_time, time_text

_ENTITIES = "Microsoft.Azure.Batch.Protocol.Entities"
_OUT_OF_REACH = ("deallocated", "preempted", "unknown")
_USER_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}", re.IGNORECASE)
#: How many files a node usually sends (source: recorded exchange).
_LOG_FILES = 4


# -- files ----------------------------------------------------------------------------------------


def list_node_files(call: Call) -> Answer:
    """GET /pools/{poolId}/nodes/{nodeId}/files. Names are relative to the node's root."""
    return directories.list_files(call, _place(call))


def download_node_file(call: Call) -> Answer:
    """GET /pools/{poolId}/nodes/{nodeId}/files/{filePath}"""
    return directories.download(call, _place(call))


def get_node_file_properties(call: Call) -> Answer:
    """HEAD /pools/{poolId}/nodes/{nodeId}/files/{filePath}"""
    return directories.properties(call, _place(call))


def delete_node_file(call: Call) -> Answer:
    """DELETE /pools/{poolId}/nodes/{nodeId}/files/{filePath}"""
    return directories.delete(call, _place(call))


def _place(call: Call) -> Directory:
    pool, node = find_node(call)
    if node.wire["state"] in _OUT_OF_REACH:
        raise ServiceFault(faults.OPERATION_INVALID_FOR_STATE, (("Reason", f"The node is {node.wire['state']}"),))
    root = call.service.node_root(pool.id, node.id)
    return Directory(root, root, node_url(call.base_url, pool.id, node.id))


# -- users ----------------------------------------------------------------------------------------


def create_node_user(call: Call) -> Answer:
    """POST /pools/{poolId}/nodes/{nodeId}/users"""
    _, node = find_usable_node(call)
    name = call.body["name"]
    if not _USER_NAME.fullmatch(name):
        raise invalid_property("name", name, "This is no name of a user")
    if name in node.users:
        raise ServiceFault(faults.NODE_USER_EXISTS)
    node.users[name] = {"isAdmin": call.body.get("isAdmin", False), **_changed_user(call)}
    url = f"{call.url}/{name}"
    return Answer(201, headers={"Location": url, "DataServiceId": url})


def replace_node_user(call: Call) -> Answer:
    """PUT /pools/{poolId}/nodes/{nodeId}/users/{userName}. What is not given returns to its default."""
    _, node = find_usable_node(call)
    user = node.users.get(call.params["userName"])
    if user is None:
        raise ServiceFault(faults.NODE_USER_NOT_FOUND)
    node.users[call.params["userName"]] = {"isAdmin": user["isAdmin"], **_changed_user(call)}
    return accepted(call)


def delete_node_user(call: Call) -> Answer:
    """DELETE /pools/{poolId}/nodes/{nodeId}/users/{userName}"""
    _, node = find_usable_node(call)
    if node.users.pop(call.params["userName"], None) is None:
        raise ServiceFault(faults.NODE_USER_NOT_FOUND)
    return Answer(200)


def _changed_user(call: Call) -> Json:
    if not (call.body.get("password") or call.body.get("sshPublicKey")):
        raise invalid_property("password", "", "A user needs a password or an sshPublicKey")
    now = call.service.clock.now()
    expiry = call.body.get("expiryTime")
    if expiry is not None and parse_time(expiry) <= now:
        raise invalid_property("expiryTime", expiry, "The value must be in the future")
    return {"expiryTime": expiry or time_text(now + timedelta(days=1))}


# -- ways in and out ------------------------------------------------------------------------------


def get_node_remote_login_settings(call: Call) -> Answer:
    """GET /pools/{poolId}/nodes/{nodeId}/remoteloginsettings"""
    _, node = find_node(call)
    endpoint = node.wire["endpointConfiguration"]["inboundEndpoints"][0]
    body = {
        "odata.metadata": f"{call.base_url}/$metadata#{_ENTITIES}.RemoteLoginSettings",
        "remoteLoginIPAddress": endpoint["publicIPAddress"],
        "remoteLoginPort": endpoint["frontendPort"],
    }
    return Answer(200, body, {"DataServiceId": call.url})


def upload_node_logs(call: Call) -> Answer:
    """POST /pools/{poolId}/nodes/{nodeId}/uploadbatchservicelogs. The answer only: nothing is sent."""
    pool, node = find_node(call)
    if not urlsplit(call.body["containerUrl"]).netloc:
        raise invalid_property("containerUrl", "", "The value must be the URL of a blob container")
    call.service.note_once("log files of nodes are not uploaded: there are none")
    account = call.service.config.account
    digest = hashlib.sha256(account.encode()).hexdigest()[:16]
    body = {
        "odata.metadata": f"{call.base_url}/$metadata#{_ENTITIES}.UploadBatchServiceLogsResult",
        "virtualDirectoryName": f"{account}-{digest}/{pool.id.lower()}/{node.id}/{uuid.uuid4()}",
        "numberOfFilesUploaded": _LOG_FILES,
    }
    return Answer(200, body)


def list_node_extensions(call: Call) -> Answer:
    """GET /pools/{poolId}/nodes/{nodeId}/extensions. Local nodes have none."""
    find_node(call)
    return page(call, "extensions", [], lambda key: {}, {})


def get_node_extension(call: Call) -> Answer:
    """GET /pools/{poolId}/nodes/{nodeId}/extensions/{extensionName}"""
    find_node(call)
    raise ServiceFault(faults.RESOURCE_NOT_FOUND)
