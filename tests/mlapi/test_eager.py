"""A coroutine runs at once, and becomes a task when it first waits."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pytest

from mlapi.http import eager

NAME: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="outside")


def _run(work: Any) -> Any:
    async def main() -> Any:
        return await work(asyncio.get_running_loop())

    return asyncio.run(main())


def test_a_coroutine_that_never_waits_makes_no_task():
    seen: list[str] = []

    async def answer() -> None:
        seen.append("answered")

    async def work(loop: asyncio.AbstractEventLoop) -> Any:
        return eager.start(answer(), loop)

    assert _run(work) is None
    assert seen == ["answered"]


@pytest.mark.parametrize("times", [1, 3])
def test_a_coroutine_that_waits_ends_as_a_task(times):
    seen: list[Any] = []

    async def answer(loop: asyncio.AbstractEventLoop) -> None:
        for number in range(times):
            future = loop.create_future()
            loop.call_later(0.001, future.set_result, number)
            seen.append(await future)
        await asyncio.sleep(0)
        seen.append(asyncio.current_task())

    async def work(loop: asyncio.AbstractEventLoop) -> Any:
        task = eager.start(answer(loop), loop)
        await task
        return task

    task = _run(work)

    assert seen == [*range(times), task]


def test_awaited_future_may_be_ready_before_the_task():
    async def answer(future: asyncio.Future[None]) -> None:
        await future

    async def work(loop: asyncio.AbstractEventLoop) -> Any:
        future = loop.create_future()
        task = eager.start(answer(future), loop)
        future.set_result(None)
        await task
        return task.done()

    assert _run(work)


def test_several_coroutines_wait_for_one_future():
    seen: list[str] = []

    async def answer(future: asyncio.Future[str]) -> None:
        seen.append(await future)

    async def work(loop: asyncio.AbstractEventLoop) -> Any:
        future = loop.create_future()
        tasks = [eager.start(answer(future), loop) for _ in range(3)]
        loop.call_later(0.001, future.set_result, "ready")
        await asyncio.gather(*tasks)

    _run(work)

    assert seen == ["ready"] * 3


def test_a_failure_is_raised_where_the_coroutine_waits():
    seen: list[str] = []

    async def answer(future: asyncio.Future[None]) -> None:
        try:
            await future
        except KeyError as error:
            seen.append(repr(error))
            raise

    async def work(loop: asyncio.AbstractEventLoop) -> Any:
        future = loop.create_future()
        task = eager.start(answer(future), loop)
        future.set_exception(KeyError("lost"))
        return await asyncio.gather(task, return_exceptions=True)

    (error,) = _run(work)

    assert isinstance(error, KeyError)
    assert seen == ["KeyError('lost')"]


@pytest.mark.parametrize("rounds", [0, 1, 5])
def test_a_cancelled_task_releases_what_it_holds(rounds):
    held = ["a slot"]

    async def answer() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            held.clear()

    async def work(loop: asyncio.AbstractEventLoop) -> Any:
        task = eager.start(answer(), loop)
        for _ in range(rounds):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return task.cancelled()

    assert _run(work)
    assert held == []


def test_failure_before_the_first_wait_is_raised_at_once():
    async def answer() -> None:
        raise ValueError("no")

    async def work(loop: asyncio.AbstractEventLoop) -> Any:
        with pytest.raises(ValueError, match="no"):
            eager.start(answer(), loop)

    _run(work)


def test_context_of_one_request_does_not_reach_another():
    seen: list[str] = []

    async def answer(name: str) -> None:
        seen.append(NAME.get())
        NAME.set(name)
        await asyncio.sleep(0)
        seen.append(NAME.get())

    async def work(loop: asyncio.AbstractEventLoop) -> Any:
        await asyncio.gather(*(eager.start(answer(name), loop) for name in ("first", "second")))
        return NAME.get()

    assert _run(work) == "outside"
    assert seen == ["outside", "outside", "first", "second"]


def test_ensure_task_makes_a_task_of_a_started_coroutine():
    seen: list[bool] = []

    async def answer() -> None:
        seen.append(asyncio.current_task() is None)
        await eager.ensure_task()
        seen.append(asyncio.current_task() is None)
        async with asyncio.timeout(1):
            await asyncio.sleep(0)

    async def work(loop: asyncio.AbstractEventLoop) -> Any:
        has_ended = asyncio.Event()
        # As the protocol does: in a callback of the loop, which is no task.
        loop.call_soon(lambda: eager.start(answer(), loop).add_done_callback(lambda _: has_ended.set()))
        await has_ended.wait()

    _run(work)

    assert seen == [True, False]
