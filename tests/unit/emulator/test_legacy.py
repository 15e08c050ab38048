"""Bodies of older api-versions."""

from __future__ import annotations

import pytest

from snakemake_executor_azurebatch.emulator.faults import ServiceFault
from snakemake_executor_azurebatch.emulator.legacy import modernised, shown_before


def test_older_members_are_dropped_wherever_they_are():
    pool = {"vmSize": "s", "targetNodeCommunicationMode": "classic", "certificateReferences": []}
    body = {"id": "j", "poolInfo": {"autoPoolSpecification": {"pool": pool}}}
    assert modernised(body) == {"id": "j", "poolInfo": {"autoPoolSpecification": {"pool": {"vmSize": "s"}}}}


def test_a_data_disk_names_its_storage_as_today():
    disks = [{"lun": 0, "diskSizeGB": 1, "storageAccountType": "premium_lrs"}, {"lun": 1, "diskSizeGB": 1}]
    assert modernised({"dataDisks": disks}) == {
        "dataDisks": [
            {"lun": 0, "diskSizeGB": 1, "managedDisk": {"storageAccountType": "premium_lrs"}},
            {"lun": 1, "diskSizeGB": 1},
        ]
    }


def test_what_is_the_callers_own_is_left_alone():
    body = {"extensions": [{"settings": {"resourceTags": 1, "certificateReferences": ["x"]}}]}
    assert modernised(body) == body


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ({"value": [{"authenticationTokenSettings": {"access": ["job"]}}]}, "authentication tokens"),
        ({"pool": {"certificateReferences": [{"thumbprint": "0"}]}}, "certificates"),
    ],
)
def test_what_has_left_the_service_is_refused(body, what):
    with pytest.raises(ServiceFault, match=f"NotEmulated: .*{what}"):
        modernised(body)


def test_only_pools_show_older_members():
    assert shown_before("pools", {"id": "p"})["certificateReferences"] == []
    assert shown_before("jobs", {"id": "j"}) == {"id": "j"}
