"""A library in a process of its own, which is stopped during another library's turn.

In a shared process, the workers of torch and onnxruntime keep spinning for a while after a call and take a core from
the library that is timed next. With several threads, a library whose workers sleep at once then looks slower than it
is.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from benchmarks.libraries import Library
from benchmarks.problems import Problem
from fastconv.engine.timing import Contender


class Isolated:
    """Stands in for a library, and for its `Contender`, in this process."""

    def __init__(self, library: type[Library], threads: int) -> None:
        self.name = library.name
        self.operations = library.operations
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(theirs, library, threads), daemon=True)
        self._process.start()
        atexit.register(self._process.kill)  # a stopped process would not react to a request to end
        self.version: str = self._answer()

    def refuse(self, problem: Problem) -> str | None:
        return self._ask("refuse", problem)

    def error(self, problem: Problem) -> float:
        return self._ask("error", problem)

    def enter(self, problem: Problem) -> np.ndarray:
        """Prepare `problem`, to be timed from now on, and return the result of a call."""
        return self._ask("enter", problem)

    def calibrate(self) -> None:
        self._ask("calibrate")

    def sample(self, repeats: int) -> None:
        self._ask("sample", repeats)

    @property
    def seconds(self) -> float:
        return self._ask("seconds")

    def _ask(self, *question: Any) -> Any:
        os.kill(self._process.pid, signal.SIGCONT)
        self._pipe.send(question)
        return self._answer()

    def _answer(self) -> Any:
        answer = self._pipe.recv()
        os.kill(self._process.pid, signal.SIGSTOP)
        if isinstance(answer, Exception):
            raise answer
        return answer


def _serve(pipe: Connection, library_class: type[Library], threads: int) -> None:
    try:
        library = library_class(threads)
    except ImportError as error:
        pipe.send(error)
        return
    pipe.send(library.version)
    contender: Contender | None = None
    while True:
        question, *arguments = pipe.recv()
        if question == "enter":
            (problem,) = arguments
            arrays = problem.arrays()  # kept alive here: some libraries read them without holding a reference
            contender = Contender(library.name, library.prepare(problem, *arrays))
            answer = np.array(contender.call())
        elif question == "seconds":
            answer = contender.seconds
        else:
            answer = getattr(contender if hasattr(contender, question) else library, question)(*arguments)
        pipe.send(answer)
