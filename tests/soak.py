"""Checks that memory stays flat under random calls of the whole public API from several threads.

`python tests/soak.py --minutes 20` prints resident memory over time, and fails if it grows in the second half.
"""

import argparse
import ctypes
import gc
import itertools
import sys
import threading
import time

import fastconv
from calls import FAMILIES, call

GROWTH = 1.03  # in the second half, while allocators still settle


def resident():
    """The memory that this process holds in MiB.

    Without what its allocator keeps free, and without the pages of libraries, which are read when first used.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024


def soak(minutes, threads, most, first_seed):
    """Print memory at 40 times, and return the figures."""
    end = time.monotonic() + 60 * minutes
    seeds, failures, calls = itertools.count(first_seed), [], itertools.count()
    pausing, done, meeting = threading.Event(), threading.Event(), threading.Barrier(threads + 1)

    def work():
        families = itertools.cycle(FAMILIES)
        try:
            while not done.is_set():
                if pausing.is_set():
                    meeting.wait()  # all calls are over
                    meeting.wait()  # memory is measured
                call(next(families), next(seeds), most)
                next(calls)
        except BaseException as error:
            failures.append(error)
            meeting.abort()

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    taken = []
    try:
        for _ in range(40):
            time.sleep(1.5 * minutes)
            pausing.set()  # between calls, whose own arrays do not count
            meeting.wait()
            taken.append(resident())
            pausing.clear()
            meeting.wait()
            print(f"{(end - time.monotonic()) / 60:7.1f} minutes left {taken[-1]:8.1f} MiB", flush=True)
    except threading.BrokenBarrierError:
        pass  # by what is raised below
    done.set()
    for worker in workers:
        worker.join()
    print(f"{next(calls)} calls of {len(FAMILIES)} families")
    if failures:
        raise failures[0]
    return taken


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--threads", type=int, default=3)
    parser.add_argument("--most", type=int, default=65, help="the largest extent of an axis")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    fastconv.set_num_threads(2)
    taken = soak(arguments.minutes, arguments.threads, arguments.most, arguments.seed)
    middle, last = max(taken[15:20]), max(taken[35:40])
    print(f"{middle:.1f} MiB half-way, {last:.1f} MiB at the end")
    sys.exit(last > GROWTH * middle)


if __name__ == "__main__":
    main()
