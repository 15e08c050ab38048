"""Why tasks wait, asked of a real service."""

from azure.batch import models as m

from snakemake_executor_azurebatch.run.waiting import explain_waiting, look_why


def test_a_pool_without_nodes(batch, name):
    machine = m.VirtualMachineConfiguration(
        image_reference=m.BatchVmImageReference(publisher="p", offer="o", sku="s"), node_agent_sku_id="n"
    )
    batch.create_pool(
        m.BatchPoolCreateOptions(id=name, vm_size="standard_d2s_v5", virtual_machine_configuration=machine)
    )
    batch.create_job(m.BatchJobCreateOptions(id=name, pool_info=m.BatchPoolInfo(pool_id=name)))
    batch.create_task(name, m.BatchTaskCreateOptions(id="t", command_line="true"))

    waiting = look_why(batch, name, name)

    assert (waiting.active_tasks, waiting.running_tasks, dict(waiting.nodes)) == (1, 0, {})
    assert str(explain_waiting(waiting)).startswith(f"1 task waits for a node of pool {name}: it ")
