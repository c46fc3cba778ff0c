"""Admission: slots, a queue in the order of arrival, and memory for bodies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from mlapi.http.admission import AdmissionController
from mlapi.protocols.base import HttpError


def controller(**given) -> AdmissionController:
    values = {"max_in_flight": 2, "queue_timeout_seconds": 5.0, "max_queued": 10, "max_body_bytes": 1_000}
    return AdmissionController(**values | given)


def run(work: Callable[[], Awaitable[object]]) -> object:
    return asyncio.run(work())


async def queued(admission: AdmissionController, count: int = 1, client: object = None) -> asyncio.Task:
    """Return a request that waits."""
    before = admission.queued
    task = asyncio.create_task(admission.acquire(count, client))
    while admission.queued == before:
        await asyncio.sleep(0)
    return task


def test_slots_are_given_in_the_order_of_arrival():
    async def work():
        admission = controller(max_in_flight=1)
        held = await admission.acquire()
        tasks = [await queued(admission) for _ in range(3)]
        ended = []
        for number, task in enumerate(tasks):
            task.add_done_callback(lambda _, number=number: ended.append(number))
        for task in tasks:
            held.release()
            held = await task
        held.release()
        return ended, admission.in_flight

    assert run(work) == ([0, 1, 2], 0)


def test_a_wait_ends_with_the_timeout():
    async def work():
        admission = controller(max_in_flight=1, queue_timeout_seconds=0.05)
        held = await admission.acquire()
        with pytest.raises(HttpError) as refused:
            await admission.acquire()
        held.release()
        return refused.value.status, refused.value.headers, admission.queued, admission.in_flight

    assert run(work) == (503, [("Retry-After", "1")], 0, 0)


def test_a_full_queue_is_refused_at_once():
    async def work():
        admission = controller(max_in_flight=1, max_queued=2)
        held = await admission.acquire()
        tasks = [await queued(admission) for _ in range(2)]
        with pytest.raises(HttpError, match="too few slots are free"):
            await asyncio.wait_for(admission.acquire(), 1)
        for task in tasks:
            held.release()
            held = await task

    run(work)


@pytest.mark.parametrize(("waited_seconds", "is_refused"), [(2.9, False), (3.1, True)])
def test_a_hopeless_wait_is_refused_at_once(waited_seconds, is_refused, monkeypatch):
    now = time.monotonic

    async def work():
        admission = controller(max_in_flight=1, queue_timeout_seconds=4.0)
        held = await admission.acquire()
        first = await queued(admission)
        monkeypatch.setattr(time, "monotonic", lambda: now() + waited_seconds)
        if not is_refused:
            second = await queued(admission, client="a")
            held.release()
            (await first).release()
            (await second).release()
            return admission.in_flight
        with pytest.raises(HttpError):
            await asyncio.wait_for(admission.acquire(client="a"), 0.1)
        # A client that returns at once waits, so that refusals do not take the time of the others.
        returned = await queued(admission, client="a")
        held.release()
        (await first).release()
        (await returned).release()
        return admission.in_flight

    assert run(work) == 0


def test_a_cancelled_wait_leaves_the_queue():
    async def work():
        admission = controller(max_in_flight=1)
        held = await admission.acquire()
        gone, stays = await queued(admission), await queued(admission)
        gone.cancel()
        await asyncio.sleep(0)
        held.release()
        (await stays).release()
        return gone.cancelled(), admission.queued, admission.in_flight

    assert run(work) == (True, 0, 0)


def test_slots_granted_to_a_cancelled_wait_are_given_back():
    async def work():
        admission = controller(max_in_flight=1)
        held = await admission.acquire()
        waiting = await queued(admission)
        held.release()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return admission.in_flight

    assert run(work) == 0


def test_a_large_request_is_not_overtaken_and_runs_alone():
    async def work():
        admission = controller(max_in_flight=2)
        held = await admission.acquire()
        large, small = await queued(admission, 5), await queued(admission)
        assert admission.in_flight == 1
        held.release()
        five = await large
        assert (five.count, small.done()) == (5, False)
        five.release()
        (await small).release()

    run(work)


def test_body_takes_more_slots_while_some_are_free():
    async def work():
        admission = controller(max_in_flight=3)
        growing, other = await admission.acquire(), await admission.acquire()
        growing.grow(2)
        with pytest.raises(HttpError):
            growing.grow(3)
        other.release()
        growing.grow(9)
        growing.release()
        return admission.in_flight

    assert run(work) == 0


def test_memory_for_bodies_is_bounded():
    admission = controller(max_body_bytes=100)
    admission.reserve_body(80)
    with pytest.raises(HttpError, match="80 bytes of large bodies"):
        admission.reserve_body(21)
    admission.release_body(80)
    admission.reserve_body(100)
