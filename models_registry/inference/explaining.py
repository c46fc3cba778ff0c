"""Runs explanations in a separate thread, one at a time, so that predictions do not wait for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from models_registry.errors import Busy

# The running explanation plus those in the queue.
MAX_EXPLANATIONS = 32

Result = TypeVar("Result")
# The thread starts with the first explanation.
_thread = ThreadPoolExecutor(1, thread_name_prefix="explanation")
_slots = threading.BoundedSemaphore(MAX_EXPLANATIONS)


def submit(work: Callable[[], Result]) -> Future[Result]:
    """Run `work` in the explanations' thread, after those in the queue; Busy if the queue is full."""
    if not _slots.acquire(blocking=False):
        raise Busy(f"{MAX_EXPLANATIONS} explanations run or wait in this worker. Send the request again.")
    running = _thread.submit(work)
    running.add_done_callback(lambda _: _slots.release())
    return running


async def explain_in_turn(work: Callable[[], Result]) -> Result:
    """Return the result of `work`; errors as in `submit`."""
    running = submit(work)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return running.result()
    return await asyncio.wrap_future(running)
