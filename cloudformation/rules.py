"""Parameters that the service template itself refuses, before anything is created."""

from __future__ import annotations

from collections.abc import Iterable

from troposphere import Equals, Not, Ref, Template

from cloudformation import grpc
from cloudformation.config import MAX_MIN_TASKS, TASK_SIZES


def add_rules(template: Template, *, needs_certificate: bool = True) -> None:
    """Refuse, before anything is made, the task sizes that Fargate does not sell and a ceiling under the floor."""
    for cpu, sizes in TASK_SIZES.items():
        template.add_rule(
            f"MemoryFitsCpu{cpu}",
            {
                "RuleCondition": Equals(Ref("TaskCpu"), str(cpu)),
                "Assertions": [
                    {
                        "Assert": _contains(sizes, "TaskMemory"),
                        "AssertDescription": f"With TaskCpu {cpu} Fargate offers {_listed(sizes)} MiB.",
                    }
                ],
            },
        )
    for ceiling in range(1, MAX_MIN_TASKS):
        template.add_rule(
            f"MinTasksUpTo{ceiling}",
            {
                "RuleCondition": Equals(Ref("MaxTasks"), str(ceiling)),
                "Assertions": [
                    {
                        "Assert": _contains(range(1, ceiling + 1), "MinTasks"),
                        "AssertDescription": f"MinTasks must not exceed MaxTasks, which is {ceiling}.",
                    }
                ],
            },
        )
    certificate = {"Assert": Not(Equals(Ref("CertificateArn"), "")), "AssertDescription": "prod needs a certificate."}
    if grpc.is_offered(template):
        template.add_rule(
            "GrpcNeedsHttps",
            {
                "RuleCondition": Equals(Ref(grpc.PARAMETER), "true"),
                "Assertions": [certificate | {"AssertDescription": "gRPC needs a certificate."}],
            },
        )
    template.add_rule(
        "ProdSpreadsOverTwoZones",
        {
            "RuleCondition": Equals(Ref("EnvironmentName"), "prod"),
            "Assertions": [
                {"Assert": Not(Equals(Ref("MinTasks"), "1")), "AssertDescription": "prod needs MinTasks of 2 or more."},
                {"Assert": Equals(Ref("CreateDatabase"), "true"), "AssertDescription": "prod needs the database."},
                *([certificate] if needs_certificate else []),
            ],
        },
    )


def _listed(sizes: tuple[int, ...]) -> str:
    """Return the sizes as a sentence has them; those of the large tasks are all whole GiB."""
    if len(sizes) < 10:
        return ", ".join(map(str, sizes))
    return f"{sizes[0]}, {sizes[1]} and so on to {sizes[-1]}"


def _contains(allowed: Iterable[int], parameter: str) -> dict[str, list[object]]:
    # troposphere has no class for the functions that only rules may use
    return {"Fn::Contains": [[str(value) for value in allowed], Ref(parameter)]}
