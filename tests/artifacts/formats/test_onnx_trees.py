"""Trees in an ONNX graph that lead back to themselves are refused before anything runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.ensemble import GradientBoostingRegressor, IsolationForest, RandomForestClassifier, RandomForestRegressor

from models_registry.artifacts.formats.onnx_trees import trees_problem
from models_registry.artifacts.inspection import inspect_artifact
from models_registry.artifacts.policy import judge

RNG = np.random.RandomState(0)
X = RNG.rand(80, 4).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 1).astype(int)
LOOP = "lead back to themselves"
# Two trees: a root with two leaves, and a root whose left child is a branch.
SOUND: dict[str, list[Any]] = {
    "nodes_treeids": [0, 0, 0, 7, 7, 7, 7, 7],
    "nodes_nodeids": [0, 1, 2, 0, 1, 2, 3, 4],
    "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF", "BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF", "LEAF"],
    "nodes_truenodeids": [1, 0, 0, 1, 2, 0, 0, 0],
    "nodes_falsenodeids": [2, 0, 0, 4, 3, 0, 0, 0],
}
SOUND_BY_PLACES: dict[str, list[Any]] = {
    "tree_roots": [0],
    "nodes_truenodeids": [1, 0, 2],
    "nodes_trueleafs": [0, 1, 1],
    "nodes_falsenodeids": [2, 1, 3],
    "nodes_falseleafs": [0, 1, 1],
}


def tree_node(kind: str = "TreeEnsembleRegressor", **attributes: Any) -> Any:
    return helper.make_node(kind, ["X"], ["y"], domain="ai.onnx.ml", **attributes)


def changed(base: dict[str, list[Any]], name: str, place: int, value: Any) -> dict[str, list[Any]]:
    values = list(base[name])
    values[place] = value
    return {**base, name: values}


@pytest.mark.parametrize(
    "estimator",
    [RandomForestClassifier(5), RandomForestRegressor(5), GradientBoostingRegressor(n_estimators=5),
     IsolationForest(n_estimators=5)],
    ids=lambda one: type(one).__name__,
)  # fmt: skip
def test_trees_of_a_trained_model_are_sound(estimator: Any) -> None:
    graph = to_onnx(estimator.fit(X, Y), X[:1], target_opset={"": 15, "ai.onnx.ml": 3}).graph
    found = [node for node in graph.node if node.op_type.startswith("TreeEnsemble")]
    assert found
    assert [trees_problem(node) for node in found] == [None] * len(found)


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        (SOUND, None),
        (changed(SOUND, "nodes_truenodeids", 0, 0), LOOP),
        (changed(SOUND, "nodes_truenodeids", 4, 0), LOOP),
        (changed(SOUND, "nodes_falsenodeids", 4, 1), LOOP),
        (changed(SOUND, "nodes_falsenodeids", 3, 9), "name a node that is not there"),
        (changed(SOUND, "nodes_falsenodeids", 0, 3), "name a node that is not there"),
        (changed(SOUND, "nodes_nodeids", 2, 1), "have two nodes of one id"),
        ({**SOUND, "nodes_falsenodeids": [2]}, "have attributes of different lengths"),
        # Two branches may share what follows.
        (changed(SOUND, "nodes_falsenodeids", 3, 2), None),
        # The ids of a leaf's children are not read.
        (changed(SOUND, "nodes_truenodeids", 1, 1), None),
        (changed(SOUND, "nodes_truenodeids", 2, 2**62), None),
    ],
)
def test_nodes_by_id_end_in_leaves(attributes: dict[str, Any], said: str | None) -> None:
    found = trees_problem(tree_node(**attributes))
    assert found is None if said is None else said in str(found)


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        (SOUND_BY_PLACES, None),
        (changed(SOUND_BY_PLACES, "nodes_trueleafs", 1, 0), LOOP),
        (changed(SOUND_BY_PLACES, "nodes_falsenodeids", 0, 0), LOOP),
        (changed(SOUND_BY_PLACES, "nodes_falsenodeids", 0, 3), "name a node that is not there"),
        (changed(SOUND_BY_PLACES, "nodes_truenodeids", 0, -1), "name a node that is not there"),
        ({**SOUND_BY_PLACES, "nodes_trueleafs": [0]}, "have attributes of different lengths"),
    ],
)
def test_nodes_by_place_end_in_leaves(attributes: dict[str, Any], said: str | None) -> None:
    found = trees_problem(tree_node("TreeEnsemble", **attributes))
    assert found is None if said is None else said in str(found)


def test_attribute_that_stands_twice_is_refused() -> None:
    node = tree_node(**SOUND)
    node.attribute.append(helper.make_attribute("nodes_truenodeids", [0] * 8))
    assert "name an attribute twice" in str(trees_problem(node))


def test_trees_from_a_parameter_of_a_function_are_refused() -> None:
    node = tree_node(**SOUND)
    node.attribute[0].ref_attr_name = "trees"
    assert "are parameters of a function" in str(trees_problem(node))


def test_random_edges_agree_with_a_walk_along_them() -> None:
    def walk_ends(children: list[list[int]]) -> bool:
        state = [0] * len(children)

        def visit(node: int) -> bool:
            if state[node]:
                return state[node] == 2
            state[node] = 1
            ends = all(visit(child) for child in children[node])
            state[node] = 2
            return ends

        return all(visit(node) for node in range(len(children)))

    seen = set()
    for _ in range(300):
        count = int(RNG.randint(2, 9))
        leaves = RNG.rand(count) < 0.6
        edges = RNG.randint(0, count, (2, count))
        node = tree_node(
            nodes_treeids=[0] * count,
            nodes_nodeids=list(range(count)),
            nodes_modes=["LEAF" if leaf else "BRANCH_LT" for leaf in leaves],
            nodes_truenodeids=edges[0].tolist(),
            nodes_falsenodeids=edges[1].tolist(),
        )
        ends = walk_ends([[] if leaves[place] else edges[:, place].tolist() for place in range(count)])
        assert (trees_problem(node) is None) == ends
        seen.add(ends)
    assert seen == {True, False}


def test_file_with_endless_trees_is_rejected(tmp_path: Path) -> None:
    features = [0, 0, 0, 1, 1, 0, 0, 0]
    node = tree_node(
        **changed(SOUND, "nodes_falsenodeids", 4, 1),
        nodes_featureids=features,
        nodes_values=[0.5] * 8,
        target_ids=[0] * 5,
        target_treeids=[0, 0, 7, 7, 7],
        target_nodeids=[1, 2, 2, 3, 4],
        target_weights=[1.0] * 5,
        n_targets=1,
    )
    inputs = [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 2])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])]
    graph = helper.make_graph([node], "trees", inputs, outputs)
    imports = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 3)]
    path = tmp_path / "m.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString())

    (reason,) = judge(inspect_artifact(path, "onnx", max_claimed_bytes=10**6))
    assert LOOP in reason
