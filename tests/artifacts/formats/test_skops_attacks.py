"""Crafted skops files are refused, and nothing else is tried in their place."""

from __future__ import annotations

import itertools
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import skops.io
from sklearn.linear_model import LogisticRegression

from models_registry.artifacts.formats import open_artifact
from models_registry.artifacts.inspection import inspect_artifact
from models_registry.artifacts.policy import judge
from models_registry.errors import ArtifactError, BrokenArtifact
from tests.artifacts.attacks import Attacks

NUMBERS = itertools.count(1_000)


def node(loader: str, module: str, cls: str, **more: Any) -> dict[str, Any]:
    return {"__loader__": loader, "__module__": module, "__class__": cls, "__id__": next(NUMBERS), **more}


def text(content: Any) -> dict[str, Any]:
    return node("JsonNode", "builtins", "str", content=json.dumps(content), is_json=True)


def tuple_of(*items: dict[str, Any]) -> dict[str, Any]:
    return node("TupleNode", "builtins", "tuple", content=list(items))


def list_of(*items: dict[str, Any], cls: str = "list", module: str = "builtins") -> dict[str, Any]:
    return node("ListNode", module, cls, content=list(items))


def dict_of(*, module: str = "builtins", cls: str = "dict", **items: dict[str, Any]) -> dict[str, Any]:
    keys = list_of(*(node("TypeNode", "builtins", "str") for _ in items))
    return node("DictNode", module, cls, content=items, key_types=keys)


def held(part: dict[str, Any]) -> dict[str, Any]:
    """Return a logistic regression with the part as a parameter."""
    return node("ObjectNode", "sklearn.linear_model._logistic", "LogisticRegression", content=dict_of(C=part))


def attacks(mark: Path) -> dict[str, dict[str, Any]]:
    command = text(f"touch {mark}")
    made = {
        "constructor": node("ConstructorFromReduceNode", "os", "system", content=tuple_of(command)),
        "function": node("FunctionNode", "os", "system"),
        "type": node("TypeNode", "os", "system"),
        "object": node("ObjectNode", "subprocess", "Popen", content=dict_of(a=text(1))),
        "object without state": node("ObjectNode", "http.client", "HTTPConnection"),
        "list of another class": list_of(command, module="subprocess", cls="check_output"),
        "list of a trusted class": list_of(command, module="sklearn.svm._classes", cls="SVC"),
        "dictionary of another class": dict_of(module="tempfile", cls="mkdtemp", a=text(1)),
        "set of another class": node("SetNode", "subprocess", "call", content=[command]),
        "array of another class": node("NdArrayNode", "os", "system", type="json", content=[], shape=tuple_of()),
        "method": node(
            "MethodNode", "sklearn.linear_model._logistic", "LogisticRegression",
            content={"func": "fit", "obj": held(text(1))},
        ),
        "method caller": node("OperatorFuncNode", "operator", "methodcaller", attrs=tuple_of(text("system"))),
        "partial": node(
            "PartialNode", "functools", "partial",
            content={"func": node("FunctionNode", "os", "system"), "args": tuple_of(command), "kwds": dict_of(),
                     "namespace": dict_of()},
        ),
        "loss": node("LossNode", "os", "system", __reduce__={"args": tuple_of(command)}, content=dict_of()),
        "random state": node("RandomStateNode", "os", "getcwd", content=dict_of()),
        "default factory": node(
            "DefaultDictNode", "collections", "defaultdict",
            content={"main": dict_of(), "default_factory": node("FunctionNode", "os", "getcwd")},
        ),
        "unknown loader": node("ShellNode", "os", "system", content=command),
        "unknown reference": {"__loader__": "CachedNode", "__module__": None, "__class__": None, "__id__": 77},
        "member outside": node("NdArrayNode", "numpy", "ndarray", type="numpy", file="../../etc/passwd"),
        "generator by name": node(
            "RandomGeneratorNode", "numpy.random._generator", "Generator",
            content={"bit_generator": dict_of(bit_generator=text("seed")), "seed_seq": dict_of()},
        ),
    }  # fmt: skip
    return {**{f"{key} at the top": value for key, value in made.items()},
            **{f"{key} inside": held(value) for key, value in made.items()}}  # fmt: skip


def write(path: Path, schema: Any, members: dict[str, bytes] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", schema if isinstance(schema, str) else json.dumps(schema))
        for key, content in (members or {}).items():
            archive.writestr(key, content)
    return path


@pytest.mark.parametrize("key", sorted(attacks(Path("/tmp/mark"))))
def test_attack_is_refused_without_effect(key: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    schema = {**attacks(mark)[key], "protocol": 2, "_skops_version": "0.16.0"}
    path = write(tmp_path / "model.skops", schema)

    with pytest.raises(ArtifactError):
        open_artifact(path, "skops")
    assert not mark.exists()
    # The loader finds out by itself about what is not a type; the types are named before anything is loaded.
    if not key.startswith(("unknown reference", "member outside", "generator by name")):
        assert judge(inspect_artifact(path, "skops", max_claimed_bytes=10**6))


def test_unlisted_types_are_shown(tmp_path: Path) -> None:
    schema = {**held(node("FunctionNode", "os", "system")), "protocol": 2}
    inspection = inspect_artifact(write(tmp_path / "m.skops", schema), "skops", max_claimed_bytes=10**6)

    assert "os.system" in inspection.globals
    assert "os.system" in judge(inspection)[0]


def test_pickle_named_skops_is_refused_without_fallback(tmp_path: Path) -> None:
    attacks = Attacks(tmp_path)
    attacks.prepare()
    path = tmp_path / "model.skops"
    path.write_bytes(attacks.all()["os.system"])

    with pytest.raises(BrokenArtifact, match="skops"):
        open_artifact(path, "skops")
    assert judge(inspect_artifact(path, "skops", max_claimed_bytes=10**6))
    assert not attacks.has_fired()


def test_skops_file_under_the_ending_of_joblib_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    skops.io.dump(LogisticRegression().fit([[0.0], [1.0]], [0, 1]), path)

    with pytest.raises(ArtifactError):
        open_artifact(path, "joblib")


@pytest.mark.parametrize("protocol", [0, 3, -1, True, "2", None])
def test_unknown_protocol_is_refused(protocol: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "m.skops", {**held(text(1)), "protocol": protocol})
    with pytest.raises(BrokenArtifact, match="protocol"):
        open_artifact(path, "skops")


@pytest.mark.parametrize("schema", ["", "[]", "null", "{", "[" * 100_000, '{"protocol": 2}'])
def test_broken_description_is_refused(schema: str, tmp_path: Path) -> None:
    path = write(tmp_path / "m.skops", schema)
    with pytest.raises(ArtifactError):
        open_artifact(path, "skops")
    inspect_artifact(path, "skops", max_claimed_bytes=10**6)


def test_operators_exact_name_is_trusted(tmp_path: Path) -> None:
    schema = {
        **node("ObjectNode", "tests.artifacts.models", "Doubling", content=dict_of(factor=text(3))),
        "protocol": 2,
    }
    path = write(tmp_path / "m.skops", schema)

    with pytest.raises(ArtifactError):
        open_artifact(path, "skops")
    model = open_artifact(path, "skops", trusted=frozenset({"tests.artifacts.models.Doubling"}))
    assert model.predict([[2]]) == [6]
