"""Jobs in processes of their own, one thread each: what pays for wide networks on many cores. One that fails or dies is one that fails."""

from __future__ import annotations

import logging
import os
import signal
from collections import deque
from collections.abc import Mapping
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import final

from dnnlab.config.request import Request
from dnnlab.crossval import cross_validate, is_asked
from dnnlab.errors import DnnlabError, ResourceError
from dnnlab.records import Summary
from dnnlab.resume import Order, resume
from dnnlab.run import run
from dnnlab.signals import interruptible
from dnnlab.stack import Told

log = logging.getLogger(__name__)


def train_in_processes(requests: Mapping[int, Request], begun: frozenset[int], told: Told, slots: list[dict[str, str]]) -> None:
    """Train all jobs, as many at once as there are slots. slots: what each process has in its environment, such as the device it sees.

    A signal asks every process to end; jobs that have not begun then never do.
    """
    workers = [_Worker(environment) for environment in slots[: len(requests)]]
    waiting = deque(requests.items())

    def stop() -> None:
        for worker in workers:
            worker.ask_to_end()

    with interruptible(stop) as caught:
        try:
            for worker in workers:
                worker.give(*waiting.popleft(), begun)
            while busy := [worker for worker in workers if worker.job is not None]:
                ready = wait([worker.connection for worker in busy])
                for worker in [worker for worker in busy if worker.connection in ready]:
                    told(*worker.take())
                    if waiting and not caught:
                        worker.give(*waiting.popleft(), begun)
        finally:
            for worker in workers:
                worker.close()


@final
class _Worker:
    """One process that does jobs, one after the other; a new one takes its place where it died."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.job: int | None = None
        self._environment = dict(environment)
        self._begin()

    def _begin(self) -> None:
        context = get_context("spawn")  # a fork of a process with threads may hang
        self.connection, other = context.Pipe()
        self._process: BaseProcess = context.Process(target=_work, args=(other, self._environment), daemon=True)
        self._process.start()
        other.close()

    def give(self, number: int, request: Request, begun: frozenset[int]) -> None:
        """Hand over a job."""
        if not self._process.is_alive():
            self._begin()
        self.job = number
        self.connection.send((number, request, number in begun))

    def take(self) -> tuple[int, Summary | Exception]:
        """The end of its job."""
        assert self.job is not None
        number, self.job = self.job, None
        try:
            end: Summary | Exception = self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode or 0
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"left with {code}"
            end = ResourceError(f"a job's process must live until the job is done, however: it {how}", where=f"job {number}")
        return number, end

    def ask_to_end(self) -> None:
        """Let the running job keep its state and end."""
        self._process.terminate()

    def close(self) -> None:
        """Let the process go."""
        self.connection.close()
        self._process.join(timeout=None if self.job is None else 10)
        if self._process.is_alive():
            self._process.kill()


def _work(connection: Connection, environment: Mapping[str, str]) -> None:
    """What a worker does: jobs as they come, until nobody is left who sends them."""
    os.setsid()  # Ctrl-C in the terminal is the parent's to hear
    os.environ.update(environment)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123  # a descriptor is wanted; the parent speaks
        os.dup2(nowhere.fileno(), 1)
    Thread(target=_end_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(1)
    while True:
        try:
            _, request, begun = connection.recv()
        except (EOFError, OSError):
            return
        try:
            end: Summary | Exception = _done(request, begun=begun)
        except Exception as error:
            log.exception("a job failed")
            end = error if isinstance(error, DnnlabError) else DnnlabError(f"{type(error).__name__}: {error}")
        connection.send(end)


def _done(request: Request, *, begun: bool) -> Summary:
    if begun:
        assert request.folder is not None
        return resume(Order(request.folder, config=request.config, trusted=request.trusted, brief=True, frame=request.frame))
    return cross_validate(request) if is_asked(request.config.data) else run(request)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
