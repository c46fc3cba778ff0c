"""One page in CloudWatch: what callers see, what the tasks do, which models are served, how the database is."""

from __future__ import annotations

import json

from troposphere import GetAtt, If, Ref, Sub, Template, cloudwatch

from cloudformation.alarms import METRICS_NAMESPACE
from cloudformation.alb import Balancer
from cloudformation.ecs import Service
from cloudformation.iam import HAS_DATABASE
from cloudformation.links import imported
from cloudformation.parameters import DATA_STACK

_WIDTH, _HEIGHT = 12, 6


def add_dashboard(template: Template, balancer: Balancer, service: Service) -> None:
    """Add the dashboard, named like the stack."""
    values: dict[str, object] = {
        "Balancer": GetAtt(balancer.load_balancer, "LoadBalancerFullName"),
        "Targets": GetAtt(balancer.target_group, "TargetGroupFullName"),
        "Cluster": Ref(service.cluster),
        "Tasks": GetAtt(service.service, "Name"),
        # an identifier that no instance has: the graph of a deployment without a database stays empty
        "Database": If(HAS_DATABASE, imported(DATA_STACK, "DatabaseInstance"), "none"),
    }
    template.add_resource(
        cloudwatch.Dashboard(
            "Dashboard",
            DashboardName=Sub("${AWS::StackName}"),
            DashboardBody=Sub(json.dumps({"widgets": _widgets()}, separators=(",", ":")), values),
        )
    )


def _widgets() -> list[dict[str, object]]:
    alb, balancer = "AWS/ApplicationELB", ["LoadBalancer", "${Balancer}"]
    targets = [*balancer, "TargetGroup", "${Targets}"]
    tasks = ["ClusterName", "${Cluster}", "ServiceName", "${Tasks}"]
    database = ["DBInstanceIdentifier", "${Database}"]
    own = [METRICS_NAMESPACE, "Service", "Model"]
    graphs: list[tuple[str, list[list[object]]]] = [
        ("Requests and errors", [
            [alb, "RequestCount", *balancer, {"stat": "Sum"}],
            [alb, "HTTPCode_Target_4XX_Count", *targets, {"stat": "Sum"}],
            [alb, "HTTPCode_Target_5XX_Count", *targets, {"stat": "Sum"}],
            [alb, "HTTPCode_ELB_5XX_Count", *balancer, {"stat": "Sum"}],
        ]),
        ("Time to answer (s)", [
            [alb, "TargetResponseTime", *targets, {"stat": stat}] for stat in ("p50", "p90", "p99")
        ]),
        ("Tasks", [
            [alb, "HealthyHostCount", *targets, {"stat": "Minimum"}],
            [alb, "UnHealthyHostCount", *targets, {"stat": "Maximum"}],
        ]),
        ("CPU and memory of the tasks (%)", [
            ["AWS/ECS", "CPUUtilization", *tasks, {"stat": "Average"}],
            ["AWS/ECS", "MemoryUtilization", *tasks, {"stat": "Maximum"}],
        ]),
        ("Predictions by model", [[_search(own, "Requests", "Sum")]]),
        ("Time of a prediction by model, p99 (ms)", [[_search(own, "LatencyMs", "p99")]]),
        ("Replicas that cannot load a model", [[_search(own, "ReplicaFailed", "Maximum")]]),
        ("Database", [
            ["AWS/RDS", "CPUUtilization", *database, {"stat": "Average"}],
            ["AWS/RDS", "FreeStorageSpace", *database, {"stat": "Minimum", "yAxis": "right"}],
        ]),
    ]  # fmt: skip
    return [_graph(index, title, metrics) for index, (title, metrics) in enumerate(graphs)]


def _search(schema: list[str], metric: str, statistic: str) -> dict[str, object]:
    dimensions = ",".join(schema)
    # found by search: models come and go without a new template
    expression = (
        f"SEARCH('{{{dimensions}}} MetricName=\"{metric}\" Service=\"${{AWS::StackName}}\"', '{statistic}', 60)"
    )
    return {"expression": expression, "label": "${!PROP('Dim.Model')}"}


def _graph(index: int, title: str, metrics: list[list[object]]) -> dict[str, object]:
    return {
        "type": "metric",
        "x": (index % 2) * _WIDTH,
        "y": (index // 2) * _HEIGHT,
        "width": _WIDTH,
        "height": _HEIGHT,
        "properties": {
            "title": title,
            "region": "${AWS::Region}",
            "period": 60,
            "view": "timeSeries",
            "metrics": metrics,
        },
    }
