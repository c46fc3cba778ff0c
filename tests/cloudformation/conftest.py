"""The emulator of AWS, and stacks deployed to it by the real `aws` command line."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from cloudformation.config import Settings
from cloudformation.plan import plan
from tests.support.waiting import eventually
from tests.support.warm import WarmServer

ROOT = Path(__file__).parent.parent.parent
TOOLS = ROOT / ".venv-aws" / "bin"
AWS_LIBRARIES = [
    "awscli.clidriver", "awscli.customizations.cloudformation.deploy", "awscli.customizations.s3.s3",
    "awscli.formatter", "awscli.handlers", "botocore.endpoint", "botocore.httpsession", "botocore.waiter",
]  # fmt: skip
CHECKOV = ROOT / ".venv-checkov" / "bin"
ACCOUNT = "123456789012"
REGION = "us-east-1"


@dataclass(frozen=True, eq=False)
class Emulator:
    """AWS on loopback."""

    url: str
    made: Path  # a file for each stack that stands, so that workers of one test run share them
    programs: Path  # `aws`, from a process that has imported its libraries

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which `aws` and boto3 speak to the emulator and to nothing else."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DJANGO_"))}
        return kept | {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_PAGER": "",
            "PATH": os.pathsep.join([str(self.programs), str(TOOLS), os.environ["PATH"]]),
        }

    @functools.cache  # noqa: B019  (an emulator lives as long as the session)
    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        while True:
            done = subprocess.run(
                command, env=self.environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
            )
            # `aws cloudformation deploy` names a change set by the second: a stack takes one deployment in each.
            if not ("ChangeSet [awscli-" in done.stderr and "already exists" in done.stderr):
                return done
            time.sleep(1)

    def cloudformation(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m cloudformation WORDS` against the emulator."""
        return self.run(sys.executable, "-m", "cloudformation", *words)

    def deploy(self, settings: Settings, stack: str, parents: dict[str, str]) -> str:
        """Deploy one stack by the plan's own command, on the given parents, and return its name."""
        (deployment,) = [part for part in plan(settings) if part.stack.endswith(f"-{stack}")]
        parameters = deployment.parameters | parents
        done = self.run(*replace(deployment, parameters=parameters).command())
        assert done.returncode == 0, done.stdout + done.stderr
        return deployment.stack

    def deploy_once(self, settings: Settings, stack: str, parents: dict[str, str]) -> str:
        """Deploy a stack unless this test run has, and return its name."""
        key = f"{settings.project_name}-{stack}"
        with locked(self.made, key):
            done = self.made / key
            if not done.exists():
                done.write_text(self.deploy(settings, stack, parents))
            return done.read_text()

    def outputs(self, stack: str) -> dict[str, str]:
        (described,) = self.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}

    def resources(self, stack: str) -> dict[str, str]:
        """Return the physical ids of a stack's resources by their logical names."""
        listed = self.client("cloudformation").describe_stack_resources(StackName=stack)["StackResources"]
        return {part["LogicalResourceId"]: part["PhysicalResourceId"] for part in listed}


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what runs in this process reach no account: neither the machine's own nor another test's."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """Start the emulator on a free port of loopback, one for all workers of a test run; the last one stops it."""
    folder = shared_folder(tmp_path_factory, "emulator")
    running, users = folder / "running.json", folder / "users"
    with locked(folder, "emulator"):
        if not running.exists():
            running.write_text(json.dumps(_start(folder)))
        users.write_text(str(int(users.read_text()) + 1 if users.exists() else 1))
        port, pid = json.loads(running.read_text())
    made = folder / f"made-{port}"
    made.mkdir(exist_ok=True)
    aws = WarmServer(TOOLS / "python", AWS_LIBRARIES)
    try:
        yield Emulator(f"http://127.0.0.1:{port}", made, aws.program("aws", str(TOOLS / "aws")))
    finally:
        aws.stop()
        with locked(folder, "emulator"):
            left = int(users.read_text()) - 1
            users.write_text(str(left))
            if not left:
                running.unlink()
                os.kill(pid, signal.SIGTERM)


def _start(folder: Path) -> tuple[int, int]:
    """Start the emulator and return its port and its process id, once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "S3_DATA_DIR": str(folder / "s3"),
        "TMPDIR": str(folder),
        "DOCKER_HOST": f"unix://{folder}/none",  # tasks and databases are records here, not containers
    }
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [TOOLS / "python", ROOT / "tests/support/emulator.py"], env=environment, stdout=log, stderr=log
        )
    _wait_for(port, process, folder / "log")
    return port, process.pid


def shared_folder(factory: pytest.TempPathFactory, name: str) -> Path:
    """Return a folder that all workers of this test run see."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    folder.mkdir(exist_ok=True)
    return folder


@contextlib.contextmanager
def locked(folder: Path, name: str) -> Iterator[None]:
    """Keep the other workers of this test run out of the block."""
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    def is_listening() -> bool:
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    eventually(is_listening, seconds=60, saying=f"the emulator listens; log: {log}")


@dataclass(frozen=True)
class Deployed:
    """The stacks that stand, and what they were asked to be."""

    aws: Emulator
    settings: Settings
    network: str
    data: str
    service: str
    monitoring: str

    def client(self, service: str) -> Any:
        return self.aws.client(service)

    @functools.cached_property
    def network_parts(self) -> dict[str, str]:
        return self.aws.resources(self.network)

    @functools.cached_property
    def data_parts(self) -> dict[str, str]:
        return self.aws.resources(self.data)

    @functools.cached_property
    def service_parts(self) -> dict[str, str]:
        return self.aws.resources(self.service)

    @functools.cached_property
    def ecs_service(self) -> dict[str, Any]:
        parts = self.service_parts
        described = self.client("ecs").describe_services(cluster=parts["Cluster"], services=[parts["Service"]])
        service: dict[str, Any] = described["services"][0]
        return service

    @functools.cached_property
    def task(self) -> dict[str, Any]:
        described = self.client("ecs").describe_task_definition(taskDefinition=self.ecs_service["taskDefinition"])
        task: dict[str, Any] = described["taskDefinition"]
        return task


CERTIFICATE = f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/11111111-2222-3333-4444-555555555555"
VARIANTS = [
    pytest.param((mode, certificate, database), id=f"{mode}-{'tls' if certificate else 'plain'}-{kind}")
    for mode in ("public", "nat", "endpoints")
    for certificate in (False, True)
    for kind, database in (("postgresql", True), ("sqlite", False))
]


@pytest.fixture(scope="session", params=VARIANTS)
def deployed(emulator: Emulator, request: pytest.FixtureRequest) -> Deployed:
    """Deploy the three stacks in one of the twelve variants; stacks below are shared where they are the same."""
    mode, certificate, database = request.param
    kind = "db" if database else "lite"
    settings = Settings(
        network_mode=mode,
        create_database=database,
        certificate_arn=CERTIFICATE if certificate else "",
        admin_cidr="203.0.113.7/32",
        image_tag="v1",
        max_tasks=4 if database else 1,
    )
    network = emulator.deploy_once(replace(settings, project_name=mode), "network", {})
    data = emulator.deploy_once(replace(settings, project_name=f"{mode}-{kind}"), "data", {"NetworkStack": network})
    service = emulator.deploy_once(
        replace(settings, project_name=f"{mode}-{kind}-{'tls' if certificate else 'plain'}"),
        "service",
        {"NetworkStack": network, "DataStack": data},
    )
    watched = {"DataStack": data, "ServiceStack": service}
    monitoring = emulator.deploy_once(
        replace(settings, project_name=service.removesuffix("-dev-service")), "monitoring", watched
    )
    return Deployed(emulator, settings, network, data, service, monitoring)
