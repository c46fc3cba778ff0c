"""What follows from a task's size: worker processes, memory for checks, requests that it should take."""

from __future__ import annotations

from troposphere import FindInMap, Ref, Template

from cloudformation.config import TASK_SIZES

BY_CPU, BY_MEMORY = "ByTaskCpu", "ByTaskMemory"
_CPU_UNITS = 1024
# docs/benchmarks.md: the slowest model measured, histogram boosting natively, gave 1,303 answers a second on one
# processor. Two fifths of that leave room for a slower processor, a larger model and the minute that a new task takes.
_BENCHMARK_PER_SECOND = 1_303
_SHARE_HELD = 0.4
# The checks run beside the workers and their models.
_SHARE_FOR_CHECKS, _MIN_CHECK_MIB = 0.5, 256


def workers(task_cpu: int) -> int:
    """Return gunicorn's processes: one for each whole vCPU, at least one."""
    return max(1, task_cpu // _CPU_UNITS)


def requests_per_minute(task_cpu: int) -> int:
    """Return the requests a minute that a task of this size should take, to a hundred."""
    exact = _BENCHMARK_PER_SECOND * 60 * _SHARE_HELD * task_cpu / _CPU_UNITS
    return round(exact / 100) * 100


def check_memory(task_memory: int) -> int:
    """Return the MB that a check of an artifact may take."""
    return max(_MIN_CHECK_MIB, int(task_memory * _SHARE_FOR_CHECKS))


def add_mappings(template: Template) -> None:
    """Add the tables of what follows from `TaskCpu` and `TaskMemory`.

    A task's processor quota is set outside of its container, where the container cannot read it, so it is told.
    """
    template.add_mapping(
        BY_CPU,
        {str(cpu): {"Workers": str(workers(cpu)), "Requests": str(requests_per_minute(cpu))} for cpu in TASK_SIZES},
    )
    memories = sorted({size for sizes in TASK_SIZES.values() for size in sizes})
    template.add_mapping(BY_MEMORY, {str(size): {"CheckMemory": str(check_memory(size))} for size in memories})


def by_cpu(key: str) -> FindInMap:
    return FindInMap(BY_CPU, Ref("TaskCpu"), key)


def by_memory(key: str) -> FindInMap:
    return FindInMap(BY_MEMORY, Ref("TaskMemory"), key)
