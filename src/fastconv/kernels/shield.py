"""Work that no signal may interrupt: importing large libraries, and compiling.

Python runs signal handlers in the main thread, between any two of its instructions. A handler that raises in the middle
of an import, as that of Ctrl-C does, leaves half a library behind, and every later import finds that half. So the work
is done in a thread of its own. The main thread waits for it, and may stop waiting at any time; the work continues, and
a later call that needs it waits for the same thread.
"""

from __future__ import annotations

import _imp
import functools
import importlib
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import TypeVar

_Result = TypeVar("_Result")

# One piece of work at a time, and no fork in the middle of one: the child would inherit it half done.
_working = threading.RLock()
os.register_at_fork(before=_working.acquire, after_in_parent=_working.release, after_in_child=_working.release)


def shielded(work: Callable[[], _Result]) -> _Result:
    """Return ``work()``, which is completed even if the call is interrupted."""
    if threading.current_thread() is not threading.main_thread():
        with _working:
            return work()
    _let_others_import()
    results: list[_Result] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            with _working:
                results.append(work())
        except BaseException as error:
            errors.append(error)
        finally:
            done.set()

    try:
        # Not a daemon: the interpreter waits for it at exit instead of pulling LLVM from under its feet.
        threading.Thread(target=run, name="fastconv-shield").start()
    except RuntimeError:  # no thread can be started, at exit or for lack of memory
        run()
    done.wait()
    if errors:
        raise errors.pop()
    return results.pop()


def _let_others_import() -> None:
    """Release Python's import lock, which a thread whose own import was interrupted may hold for ever."""
    with suppress(RuntimeError):  # raised as soon as this thread does not hold it
        while True:
            _imp.release_lock()


@functools.cache
def imported(name: str) -> ModuleType:
    """Import module `name` without interruption by signals."""
    return shielded(lambda: importlib.import_module(name))
