"""Outputs with absolute paths where Azure Batch moves the files: where the path can be made, and refused elsewhere."""

import pytest

from snakemake_executor_azurebatch.node.protocol import Product
from tests.unit.staging.wrapper_support import SHELLS, make_node


@pytest.fixture(params=SHELLS)
def node(request, tmp_path):
    return make_node(tmp_path, request.param)


def test_absolute_outputs_inside_and_outside_of_the_workdir(node, tmp_path):
    there, far = tmp_path / "controller/project", tmp_path / "far/off/out"
    node.bring(f"{there}/in", b"given\n")

    code, text = node.run(
        f"cat in {there}/in > {there}/sub/own; pwd > {far}; echo b > ../beside; echo log > {there}/log",
        workdir=str(there),
        same_path=True,
        outputs=[Product(f"{there}/sub/own"), Product(str(far)), Product("../beside")],
        logs=[Product(f"{there}/log")],
    )

    assert (code, text) == (0, "")
    assert [node.out(name) for name in "012"] == [b"given\ngiven\n", f"{there}\n".encode(), b"b\n"]


@pytest.mark.parametrize("is_asked", [True, False])
def test_an_absolute_output_needs_the_controllers_path(node, tmp_path, is_asked):
    there = tmp_path / "taken"
    if is_asked:
        there.mkdir()

    code, text = node.run("touch ../ran", workdir=str(there), same_path=is_asked, outputs=[Product(f"{there}/own")])

    assert code == 94
    assert f"{there}/own is an absolute path, and the task cannot run at the controller's own path" in text
    assert not (node.wd / "tree" / str(tmp_path).strip("/") / "ran").exists()
    assert not (there / "own").exists()


def test_what_is_there_before_the_command_is_no_output(node, tmp_path):
    (tmp_path / "image").write_text("of the image")

    code, text = node.run(
        "true", workdir=str(tmp_path / "w"), same_path=True, outputs=[Product(str(tmp_path / "image"))]
    )

    assert code == 94
    assert f"{tmp_path}/image is there already, before the command" in text
