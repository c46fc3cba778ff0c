"""The workflow for GitHub before its schema, an auditor of workflows, and the commands that it runs."""

from __future__ import annotations

import re
import shlex
import subprocess
from typing import Any

import yaml

from cloudformation.__main__ import parser
from tests.cloudformation.conftest import ROOT, TOOLS

WORKFLOW = ROOT / ".github/workflows/deploy.yaml"


def steps() -> list[dict[str, Any]]:
    return [step for job in yaml.safe_load(WORKFLOW.read_text())["jobs"].values() for step in job["steps"]]


def test_workflow_has_the_form_that_github_takes() -> None:
    done = subprocess.run(
        [TOOLS / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", WORKFLOW],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_auditor_has_no_findings() -> None:
    done = subprocess.run([TOOLS / "zizmor", "--offline", WORKFLOW], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_foreign_actions_are_pinned_by_commit() -> None:
    used = [step["uses"] for step in steps() if "uses" in step]
    assert used
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", action) for action in used)


def test_commands_of_the_workflow_exist() -> None:
    scripts = " ".join(step["run"] for step in steps() if "run" in step)
    commands = re.findall(r"-m cloudformation (.+?)(?= \.venv| make|$)", scripts)
    assert [command.split()[0] for command in commands] == ["smoke", "replay", "promote", "smoke"]
    for command in commands:
        parser().parse_args(shlex.split(command))
