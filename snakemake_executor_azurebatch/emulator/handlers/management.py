"""The part of Azure Resource Manager that makes pools with identities: the pool as a resource below its account.

Everything else about a pool is done with the operations of Azure Batch. Subscription and resource group of the account
may have any name: there is one account here.

Assumed: a pool that is there is no new one, whatever the conditions of the request; the result of a deletion is told
while the pool goes, and then once more as done.
"""

from __future__ import annotations

from snakemake_executor_azurebatch.emulator import arm, events, faults
from snakemake_executor_azurebatch.emulator.calls import Answer, Call, find_pool
from snakemake_executor_azurebatch.emulator.faults import ServiceFault, not_emulated
from snakemake_executor_azurebatch.emulator.handlers import pools
from snakemake_executor_azurebatch.emulator.model import Pool
from snakemake_executor_azurebatch.emulator.schema import check_body

#: Seconds that a client waits before it asks again whether a pool is gone.
_ASK_AGAIN_S = 1


def put_pool(call: Call) -> Answer:
    """PUT .../pools/{poolId}: make a pool. Changing one that is there is not emulated."""
    _check_account(call)
    if call.params["poolId"].lower() in call.service.state.pools:
        if call.headers.get("if-none-match", "").strip() == "*":
            raise ServiceFault(faults.RESOURCE_IS_THERE)
        raise not_emulated("changing a pool through Azure Resource Manager")
    resource = call.body or {}
    body = check_body("BatchPoolCreateOptions", arm.create_body(call.params["poolId"], resource))
    identity, tags = arm.identity_of(resource), arm.tags_of(resource)
    pool = pools.add_pool(call, body)
    pool.tags = tags
    if identity is not None:
        pool.wire["identity"] = identity
    return _shown(call, pool)


def get_pool_resource(call: Call) -> Answer:
    """GET .../pools/{poolId}"""
    _check_account(call)
    return _shown(call, find_pool(call))


def delete_pool_resource(call: Call) -> Answer:
    """DELETE .../pools/{poolId}: 202 and where to ask whether it is gone; 204 where there is none."""
    _check_account(call)
    pool = call.service.state.pools.get(call.params["poolId"].lower())
    if pool is None:
        return Answer(204)
    if pool.wire["state"] != "deleting":
        call.service.dispatch(events.PoolDeleted(pool.key))
    return _still_going(call)


def get_pool_operation_result(call: Call) -> Answer:
    """GET .../poolOperationResults/{poolId}: 202 while the pool goes, then 204."""
    _check_account(call)
    return _still_going(call) if call.params["poolId"].lower() in call.service.state.pools else Answer(204)


def _still_going(call: Call) -> Answer:
    account = call.url.rsplit("/", 2)[0]
    url = f"{account}/poolOperationResults/{call.params['poolId']}?api-version={call.query['api-version']}"
    return Answer(202, headers={"Location": url, "Retry-After": str(_ASK_AGAIN_S)})


def _shown(call: Call, pool: Pool) -> Answer:
    resource = arm.resource_of(call.raw_path, pool.wire, pool.tags)
    return Answer(200, resource, headers={"ETag": resource["etag"]})


def _check_account(call: Call) -> None:
    if call.params["accountName"].lower() != call.service.config.account.lower():
        raise ServiceFault(
            faults.ACCOUNT_RESOURCE_NOT_FOUND,
            account=call.params["accountName"],
            group=call.params["resourceGroupName"],
        )
