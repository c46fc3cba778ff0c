"""What so many requests a minute bring with them in a month: log lines, listings, traffic, tasks."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cloudformation.config import Settings
from cloudformation.sizes import requests_per_minute, workers

MINUTES = 730 * 60
_SECONDS = MINUTES * 60
_GB = 1e9
# Measured: a line of a small request, with the 26 bytes that CloudWatch counts for each event.
_LINE_BYTES = 330
# One line of figures for each worker, model and minute.
_FIGURES_BYTES = 700
_REQUEST_BYTES, _ANSWER_BYTES = 900, 700
# The balancer's own log, compressed, kept for three months.
_ACCESS_LOG_BYTES, _ACCESS_LOG_MONTHS = 70, 3
# An HTTP API's line in CloudWatch, with the 26 bytes that CloudWatch counts for each event.
API_LINE_BYTES = 270
# What one capacity unit of a balancer carries: the largest of these is billed.
_UNIT_CONNECTIONS_SECOND, _UNIT_GB_HOUR = 25, 1.0
_REQUESTS_PER_CONNECTION = 10
# Six records of a connection, at the balancer and at a task; and what knocks at the public addresses all month.
_FLOW_BYTES, _KNOCKING_GB = 660, 0.1
_START_GB = 5.0  # images and models that new tasks fetch


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a month brings besides the hours: a small service's traffic."""

    million_requests: float = 1.0
    capacity_units: float = 0.1
    image_gb: float = 1.0
    model_gb: float = 1.0
    log_gb: float = 1.0
    access_log_gb: float = 1.0
    flow_log_gb: float = 0.2
    private_gb: float = _START_GB
    out_gb: float = 1.0
    models: int = 1


def usage_of(settings: Settings, per_minute: float) -> Usage:
    """Return the month of a service that is asked `per_minute` times each minute, all month."""
    requests = per_minute * MINUTES
    lines = requests * _LINE_BYTES * settings.log_sample_percent / 100
    figures = tasks(settings, per_minute) * workers(settings.task_cpu) * MINUTES * _FIGURES_BYTES
    gb_an_hour = per_minute * 60 * (_REQUEST_BYTES + _ANSWER_BYTES) / _GB
    connections = per_minute / 60 / _REQUESTS_PER_CONNECTION
    return Usage(
        million_requests=requests / 1e6,
        capacity_units=max(gb_an_hour / _UNIT_GB_HOUR, connections / _UNIT_CONNECTIONS_SECOND),
        log_gb=(lines + figures) / _GB,
        access_log_gb=requests * _ACCESS_LOG_BYTES * _ACCESS_LOG_MONTHS / _GB if settings.door == "balancer" else 0.0,
        flow_log_gb=_KNOCKING_GB + requests / _REQUESTS_PER_CONNECTION * _FLOW_BYTES / _GB,
        private_gb=(lines + figures) / _GB + _START_GB,
        out_gb=requests * _ANSWER_BYTES / _GB,
    )


def tasks(settings: Settings, per_minute: float) -> int:
    """Return how many tasks the autoscaling settles on, between MinTasks and MaxTasks."""
    wanted = math.ceil(per_minute / (settings.requests_per_task or requests_per_minute(settings.task_cpu)))
    return min(max(wanted, settings.min_tasks), settings.max_tasks)


def thousand_listings(settings: Settings) -> float:
    """Return the thousands of listings of the models' bucket: one replica lists it at each interval."""
    return _SECONDS / settings.models_discovery_seconds / 1000
