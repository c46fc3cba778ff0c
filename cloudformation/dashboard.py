"""One page in CloudWatch: what callers see, what the tasks do, which models are served, how the database is."""

from __future__ import annotations

import json

from troposphere import If, Ref, Sub, Template, cloudwatch

from cloudformation.alarms import METRICS_NAMESPACE, database_alarm_arns
from cloudformation.links import imported
from cloudformation.parameters import SERVICE_STACK
from cloudformation.secrets import HAS_DATABASE

_WIDTH, _HEIGHT = 12, 6
_TASKS = ["ClusterName", "${Cluster}", "ServiceName", "${Tasks}"]
# A title and the metrics under it.
Graph = tuple[str, list[list[object]]]


def add_dashboard(template: Template, *, has_api: bool = False) -> cloudwatch.Dashboard:
    """Add the dashboard, named like the service's stack."""
    cpu, storage = database_alarm_arns()
    graphs = [*(_api_graphs() if has_api else _balancer_graphs()), *_service_graphs()]
    database = _body(_database_widgets(first=len(graphs)))
    values: dict[str, object] = {
        **(
            {"Api": imported(SERVICE_STACK, "ApiId")}
            if has_api
            else {
                "Balancer": imported(SERVICE_STACK, "LoadBalancerFullName"),
                "Targets": imported(SERVICE_STACK, "TargetGroupFullName"),
            }
        ),
        "Cluster": imported(SERVICE_STACK, "Cluster"),
        "Tasks": imported(SERVICE_STACK, "Service"),
        "Service": Ref(SERVICE_STACK),
        "Database": If(HAS_DATABASE, Sub(f",{database}", {"Cpu": cpu, "Storage": storage}), ""),
    }
    widgets = [_graph(index, title, metrics) for index, (title, metrics) in enumerate(graphs)]
    body = f'{{"widgets":[{_body(widgets)}${{Database}}]}}'
    return template.add_resource(
        cloudwatch.Dashboard("Dashboard", DashboardName=Ref(SERVICE_STACK), DashboardBody=Sub(body, values))
    )


def _body(widgets: list[dict[str, object]]) -> str:
    return ",".join(json.dumps(widget, separators=(",", ":")) for widget in widgets)


def _balancer_graphs() -> list[Graph]:
    alb, balancer = "AWS/ApplicationELB", ["LoadBalancer", "${Balancer}"]
    targets = [*balancer, "TargetGroup", "${Targets}"]
    return [
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
    ]  # fmt: skip


def _api_graphs() -> list[Graph]:
    api = ["ApiId", "${Api}"]
    return [
        ("Requests and errors", [
            ["AWS/ApiGateway", metric, *api, {"stat": "Sum"}] for metric in ("Count", "4xx", "5xx")
        ]),
        ("Time to answer (ms)", [
            ["AWS/ApiGateway", "Latency", *api, {"stat": stat}] for stat in ("p50", "p90", "p99")
        ]),
        ("Tasks", [
            ["AWS/ECS", "CPUUtilization", *_TASKS, {"stat": "SampleCount", "label": "tasks"}],
        ]),
    ]  # fmt: skip


def _service_graphs() -> list[Graph]:
    own = [METRICS_NAMESPACE, "Service", "Model"]
    return [
        ("CPU and memory of the tasks (%)", [
            ["AWS/ECS", "CPUUtilization", *_TASKS, {"stat": "Average"}],
            ["AWS/ECS", "MemoryUtilization", *_TASKS, {"stat": "Maximum"}],
        ]),
        ("Predictions by model", [[_search(own, "Requests", "Sum")]]),
        ("Time of a prediction by model, p99 (ms)", [[_search(own, "LatencyMs", "p99")]]),
        ("Replicas that cannot load a model", [[_search(own, "ReplicaFailed", "Maximum")]]),
    ]  # fmt: skip


def _database_widgets(*, first: int) -> list[dict[str, object]]:
    # An alarm's graph needs no identifier of the instance, which another snapshot's would have changed.
    titles = {"Database: CPU (%)": "${Cpu}", "Database: free storage (bytes)": "${Storage}"}
    return [
        _widget(index, title, {"annotations": {"alarms": [arn]}})
        for index, (title, arn) in enumerate(titles.items(), start=first)
    ]


def _search(schema: list[str], metric: str, statistic: str) -> dict[str, object]:
    dimensions = ",".join(schema)
    # found by search: models come and go without a new template
    expression = f"SEARCH('{{{dimensions}}} MetricName=\"{metric}\" Service=\"${{Service}}\"', '{statistic}', 60)"
    return {"expression": expression, "label": "${!PROP('Dim.Model')}"}


def _graph(index: int, title: str, metrics: list[list[object]]) -> dict[str, object]:
    return _widget(index, title, {"period": 60, "metrics": metrics})


def _widget(index: int, title: str, properties: dict[str, object]) -> dict[str, object]:
    return {
        "type": "metric",
        "x": (index % 2) * _WIDTH,
        "y": (index // 2) * _HEIGHT,
        "width": _WIDTH,
        "height": _HEIGHT,
        "properties": {"title": title, "region": "${AWS::Region}", "view": "timeSeries", **properties},
    }
