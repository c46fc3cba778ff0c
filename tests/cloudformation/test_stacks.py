"""The templates as files: committed, small enough, explained, and linked by names."""

import json
from pathlib import Path
from typing import Any

import cfn_flip
import pytest

from cloudformation.__main__ import main
from cloudformation.config import Settings
from cloudformation.parameters import parameters_of
from cloudformation.stacks import (
    MAKERS,
    MAX_TEMPLATE_BYTES,
    STACKS,
    TEMPLATE_MAKERS,
    TEMPLATES,
    stale_templates,
    write_templates,
)


@pytest.mark.parametrize("stack", TEMPLATE_MAKERS)
def test_template_needs_no_bucket_to_be_deployed(stack: str) -> None:
    assert (TEMPLATES / f"{stack}.yaml").stat().st_size < MAX_TEMPLATE_BYTES


def test_committed_templates_are_what_the_parts_make() -> None:
    assert stale_templates() == []


@pytest.mark.parametrize("stack", TEMPLATE_MAKERS)
def test_template_text_has_all_of_its_parts(stack: str) -> None:
    text = (TEMPLATES / f"{stack}.yaml").read_text()
    assert json.loads(cfn_flip.to_json(text)) == json.loads(TEMPLATE_MAKERS[stack]().to_json())


def test_stale_template_fails_the_check_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_templates(tmp_path)
    assert main(["templates", "--check", "--folder", str(tmp_path)]) == 0
    (tmp_path / "data.yaml").write_text("stale")
    assert main(["templates", "--check", "--folder", str(tmp_path)]) == 1
    assert str(tmp_path / "data.yaml") in capsys.readouterr().err


@pytest.mark.parametrize("stack", STACKS)
def test_every_parameter_has_label_group_and_description(stack: str) -> None:
    template = MAKERS[stack]().to_dict()
    shown = template["Metadata"]["AWS::CloudFormation::Interface"]
    grouped = [name for group in shown["ParameterGroups"] for name in group["Parameters"]]
    assert sorted(grouped) == sorted(template["Parameters"]) == sorted(shown["ParameterLabels"])
    assert all(parameter["Description"] for parameter in template["Parameters"].values())


@pytest.mark.parametrize("stack", STACKS)
def test_every_parameter_but_the_image_tag_has_a_default(stack: str) -> None:
    parameters = MAKERS[stack]().to_dict()["Parameters"]
    assert {name for name, part in parameters.items() if "Default" not in part} <= {"ImageTag"}


@pytest.mark.parametrize("stack", STACKS)
def test_plan_gives_exactly_the_parameters_that_the_template_takes(stack: str) -> None:
    assert set(parameters_of(Settings(), stack)) == set(MAKERS[stack]().to_dict()["Parameters"])


def test_every_import_is_exported_by_the_stack_below() -> None:
    exported = {
        f"{stack.capitalize()}Stack-{name}"
        for stack in ("network", "data", "service")
        for name, output in MAKERS[stack]().to_dict()["Outputs"].items()
        if "Export" in output
    }
    wanted = {name for stack in ("data", "service", "monitoring") for name in _imports(MAKERS[stack]().to_dict())}
    assert wanted
    assert {name.replace("${", "").replace("}", "") for name in wanted} <= exported


@pytest.mark.parametrize("stack", STACKS)
def test_exports_are_the_same_in_every_mode(stack: str) -> None:
    # CloudFormation refuses to change or to drop an export that another stack uses, so none may follow a parameter
    template = MAKERS[stack]().to_dict()
    parameters = set(template["Parameters"])
    for name, output in template["Outputs"].items():
        if "Export" in output and name not in CHOSEN_AT_FIRST:
            assert "Condition" not in output, name
            assert not _named(output["Value"]) & (parameters | {"Fn::If"}), name
            resource = template["Resources"].get(next(iter(_named(output["Value"]) - {"Ref", "Fn::GetAtt"}), ""), {})
            assert "Condition" not in resource, name


# Whose data they are is chosen when the data stack is made.
CHOSEN_AT_FIRST = {"ModelPrefix", "ModelBucket", "ModelBucketArn", "Repository", "RepositoryArn", "RepositoryUri"}


def _named(value: Any) -> set[str]:
    """Return the functions of a value, and what they refer to."""
    if isinstance(value, dict):
        return set(value) | {name for item in value.values() for name in _named(item)}
    if isinstance(value, list):
        return {name for item in value for name in _named(item)}
    return {str(value)}


def test_log_retention_is_set() -> None:
    assert MAKERS["service"]().to_dict()["Resources"]["LogGroup"]["Properties"]["RetentionInDays"]


def _imports(value: Any) -> set[str]:
    if isinstance(value, list):
        return {name for item in value for name in _imports(item)}
    if not isinstance(value, dict):
        return set()
    if "Fn::ImportValue" in value:
        return {value["Fn::ImportValue"]["Fn::Sub"]}
    return {name for item in value.values() for name in _imports(item)}
