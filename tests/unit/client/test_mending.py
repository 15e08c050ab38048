"""Broken nodes, and a service that takes the change, takes it later, or refuses it for good."""

from types import SimpleNamespace as Plain

import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError

from snakemake_executor_azurebatch.run.mending import MOST_FAILURES, MOST_ROUNDS, Mended, Mender
from snakemake_executor_azurebatch.run.oversee import NodeSight

TAKEN = None


def refusal(status: int, code: str) -> HttpResponseError:
    error = HttpResponseError(message="The words of the service.")
    error.status_code, error.error = status, Plain(code=code)
    return error


LASTING = refusal(409, "OperationInvalidForCurrentState")
RESIZING = refusal(409, "PoolBeingResized")


class Client:
    """Answers each change with the next of these, and the last one for ever."""

    def __init__(self, *answers: Exception | None) -> None:
        self._answers = list(answers)
        self.removed: list[list[str]] = []
        self.resized: list[int] = []

    def get_pool(self, *_, **__):
        return Plain(target_dedicated_nodes=4, target_low_priority_nodes=0)

    def begin_remove_nodes(self, _, options, **__):
        self._answer()
        self.removed.append(options.node_ids)

    def begin_resize_pool(self, _, options, **__):
        self._answer()
        self.resized.append(options.target_dedicated_nodes)

    def _answer(self) -> None:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if answer is not None:
            raise answer


def nodes(*states: str) -> list[NodeSight]:
    return [NodeSight(f"n{number}", state, "then") for number, state in enumerate(states)]


def leased(*answers: Exception | None) -> tuple[Mender, Client, list[str]]:
    client, renewed = Client(*answers), []
    return Mender(client, "p", lambda: renewed.append("renewed")), client, renewed


def test_a_broken_node_is_removed_and_the_lease_renewed():
    mender, client, renewed = leased(TAKEN)
    assert mender(nodes("unusable", "running")) == Mended("replaced")
    assert (client.removed, renewed, mender.staying) == ([["n0"]], ["renewed"], 0)


@pytest.mark.parametrize(
    "error",
    [
        LASTING,
        refusal(409, "PoolBeingDeleted"),
        refusal(403, "AuthorizationFailure"),
        refusal(400, "InvalidPropertyValue"),
    ],
)
def test_a_lasting_refusal_ends_the_mending_and_is_told_once(error):
    mender, client, renewed = leased(error)
    mended = mender(nodes("unusable", "running"))
    assert mended.fate == ""
    assert mended.told.startswith("Broken nodes of pool p are not replaced: removing broken nodes of pool p: ")
    assert "The words of the service." in mended.told
    assert mended.told.endswith("They stay, and as many others are asked for, up to the most that the pool may have.")
    assert not mender.is_mending
    assert [mender(nodes("unusable", "running")) for _ in range(3)] == [Mended()] * 3
    assert (client.removed, renewed) == ([], [])


@pytest.mark.parametrize("error", [refusal(503, "ServerBusy"), refusal(429, ""), ServiceRequestError("no route")])
def test_trouble_that_passes_is_tried_again_at_the_next_look(error):
    mender, client, _ = leased(error, TAKEN)
    assert mender(nodes("unusable")) == Mended("to be replaced")
    assert mender.is_mending
    assert mender(nodes("unusable")) == Mended("replaced")
    assert client.removed == [["n0"]]


def test_and_not_for_ever():
    mender, _, _ = leased(refusal(500, "InternalError"))
    looks = [mender(nodes("unusable")) for _ in range(MOST_FAILURES + 2)]
    assert looks[: MOST_FAILURES - 1] == [Mended("to be replaced")] * (MOST_FAILURES - 1)
    assert [bool(mended.told) for mended in looks[MOST_FAILURES - 1 :]] == [True, False, False]


def test_a_pool_that_is_being_resized_is_waited_for():
    mender, _, _ = leased(*[RESIZING] * 50, TAKEN)
    assert {mender(nodes("unusable")).fate for _ in range(50)} == {"to be replaced"}
    assert mender(nodes("unusable")) == Mended("replaced")


def test_others_are_asked_for_beside_nodes_that_stay_until_these_fail_too():
    mender, _, _ = leased(LASTING)
    staying = []
    for broken in range(1, MOST_ROUNDS + 4):
        told = mender(nodes(*["starttaskfailed"] * broken)).told
        staying.append(mender.staying)
    assert staying == [1, 2, 3, 3, 3, 3]
    assert told == "New nodes of pool p fail as the old ones did: no more are asked for."
    mender(nodes("unusable", "unusable", "unusable", "unusable", "idle"))  # one is good, after all
    assert mender.staying == 4
    mender(nodes("idle"))
    assert mender.staying == 0


def test_nodes_of_a_pool_of_the_users_own_stay_as_they_are():
    client = Client(TAKEN)
    mender = Mender(client, "p", lambda: None, is_ours=False)
    assert mender(nodes("unusable")) == Mended()
    assert (client.removed, mender.staying) == ([], 0)


def test_a_fixed_pool_gets_its_nodes_back_before_more_are_removed():
    client = Client(TAKEN, refusal(503, "ServerBusy"), RESIZING, TAKEN)
    mender = Mender(client, "p", None)
    assert mender(nodes("unusable")).fate == "replaced"
    assert mender(nodes("unusable")).fate == "to be replaced"
    assert mender.owes_nodes
    assert mender(nodes("idle")) == Mended("to be replaced")
    assert mender(nodes("idle")) == Mended()
    assert (client.removed, client.resized, mender.owes_nodes) == ([["n0"]], [4], False)


def test_a_fixed_pool_that_cannot_be_resized_is_told_once_and_owes_nothing():
    mender = Mender(Client(TAKEN, LASTING), "p", None)
    mender(nodes("unusable", "idle"))
    told = mender(nodes("idle")).told
    assert told.startswith("Broken nodes of pool p were removed, and no others come in their place: resizing pool p: ")
    assert not mender.owes_nodes
    assert mender(nodes("unusable", "idle")) == Mended()
    assert mender.staying == 0


def test_a_fixed_pool_whose_nodes_cannot_be_removed():
    mender = Mender(Client(LASTING), "p", None)
    assert mender(nodes("unusable", "idle")).told.endswith(
        "They stay, and the others do the work. Delete the pool after the run: the next one makes it anew."
    )
    assert not mender.owes_nodes
