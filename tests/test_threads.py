"""One team of threads: shared by callers, limited by several doors, interrupted, forked."""

import contextlib
import ctypes
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import tracemalloc

import numpy as np
import pytest

import fastconv
from cases import CASES, OF_3X3, normals
from fastconv.engine import launch
from fastconv.engine.rates import REFERENCE
from fastconv.kernels import threads as team
from fastconv.kernels.threads import run_tiles

F4 = np.float32
STRATEGIES = tuple(strategy.name for strategy in OF_3X3)


def problem():
    return normals(CASES["many_row_tiles"], "float32")


def python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )


FORKS = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")


def _in_a_child(check):
    """Whether `check` passes in a forked child of the calling thread."""
    child = multiprocessing.get_context("fork").Process(target=check)
    child.start()
    child.join(60)
    child.kill()
    return child.exitcode == 0


# Callers in parallel


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_python_threads_share_one_plan(strategy):
    rng = np.random.default_rng(0)
    x, weight = (
        rng.standard_normal((1, 29, 15, 45), F4),
        rng.standard_normal((53, 29, *((5, 5) if strategy == "winograd3" else (3, 3))), F4),
    )
    expected = fastconv.conv2d(x, weight, strategy=strategy).tobytes()
    failures = []
    start = threading.Barrier(8)

    def work():
        try:
            start.wait()
            for _ in range(2):
                if fastconv.conv2d(x, weight, strategy=strategy).tobytes() != expected:
                    failures.append("differs")
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []


def test_callers_with_different_problems_do_not_mix():
    problems = [
        (x, w, fastconv.conv2d(x, w, padding=1))
        for x, w in (normals(CASES[n], "float32") for n in ("same", "batch", "wider_than_a_vector", "many_row_tiles"))
    ]
    failures = []

    def work(x, weight, expected):
        for _ in range(30):
            if fastconv.conv2d(x, weight, padding=1).tobytes() != expected.tobytes():
                failures.append(x.shape)

    workers = [threading.Thread(target=work, args=p) for p in problems * 2]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []


# Limits


def test_set_num_threads():
    default = fastconv.get_num_threads()
    fastconv.set_num_threads(3)
    assert fastconv.get_num_threads() == 3
    with fastconv.num_threads(2):
        assert fastconv.get_num_threads() == 2
        with fastconv.num_threads(None):
            assert fastconv.get_num_threads() == default
        assert fastconv.get_num_threads() == 2
    assert fastconv.get_num_threads() == 3
    fastconv.set_num_threads(None)
    assert fastconv.get_num_threads() == default


@pytest.mark.parametrize("n", [np.int64(2), np.uint8(2), np.array(2)])
def test_thread_counts_may_be_integers_of_numpy(n):
    with fastconv.num_threads(n):
        assert fastconv.get_num_threads() == 2
        assert type(fastconv.get_num_threads()) is int
    x, weight = problem()
    expected = fastconv.conv2d(x, weight)
    np.testing.assert_array_equal(fastconv.conv2d(x, weight, num_threads=n), expected)
    np.testing.assert_array_equal(fastconv.prepare_conv2d(weight, num_threads=n)(x), expected)


def test_num_threads_is_restored_after_an_error():
    before = fastconv.get_num_threads()
    with pytest.raises(KeyError), fastconv.num_threads(before + 1):
        raise KeyError
    assert fastconv.get_num_threads() == before


@pytest.mark.parametrize(
    "n",
    [0, -1, 1.0, "2", True, 1025, 2**70, [], float("nan"), np.float64(2), np.bool_(True), np.array([2]), np.int64(0)],
)
def test_bad_thread_counts(n):
    before = fastconv.get_num_threads()
    with pytest.raises(ValueError, match=r"num_threads=.*expected an int from 1 to 1024"):
        fastconv.set_num_threads(n)
    with pytest.raises(ValueError, match="num_threads="), fastconv.num_threads(n):
        pass
    assert fastconv.get_num_threads() == before


@pytest.mark.parametrize("value", ["1", "3", "1024"])
def test_environment(value):
    assert (
        python("import fastconv; print(fastconv.get_num_threads())", FASTCONV_NUM_THREADS=value).stdout == value + "\n"
    )


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "1025", "9" * 30, "9" * 5000, "1\n"])
def test_bad_environment(value):
    result = python("import fastconv", FASTCONV_NUM_THREADS=value)
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    given = value if value.isdecimal() and len(value) < 20 else repr(value)
    assert last == f"ValueError: FASTCONV_NUM_THREADS={given}: expected an int from 1 to 1024"


def test_empty_environment_is_the_default():
    report = "import fastconv; print(fastconv.get_num_threads())"
    assert python(report, FASTCONV_NUM_THREADS="", OMP_NUM_THREADS="3").stdout == "3\n"


@pytest.mark.parametrize("value", ["1024", "1025", "2147483647", "9" * 14, "-1", "0", "two", "3,2"])
def test_any_number_of_openmp_threads(value):
    """A team has a fixed maximum size, whatever OpenMP's own variable says."""
    result = python(
        "import fastconv; print(fastconv.get_num_threads())", OMP_NUM_THREADS=value, FASTCONV_NUM_THREADS=""
    )
    assert result.returncode == 0, result.stderr
    assert 1 <= int(result.stdout) <= 1024


def test_a_team_takes_no_more_threads_than_it_has_room_for():
    code = """
        import ctypes
        from fastconv.kernels.threads import run_tiles
        signature = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, *[ctypes.c_int64] * 3)
        ran = []
        kernel = signature(lambda arrays, ints, scalars, begin, end, worker: ran.append((begin, worker)))
        run_tiles(ctypes.cast(kernel, ctypes.c_void_p).value, (), (), (), 2000, 10**6)
        assert sorted(tile for tile, _ in ran) == list(range(2000))
        assert max(worker for _, worker in ran) < 1024
    """
    assert python(code, OMP_NUM_THREADS="100000").returncode == 0


def test_a_limit_on_openmp_is_respected():
    """What threadpoolctl does: set the limit in the OpenMP library that is already loaded."""
    code = """
        import ctypes, numpy as np, fastconv
        libraries = {line.split()[-1] for line in open("/proc/self/maps") if "gomp" in line or "libomp" in line}
        openmp = ctypes.CDLL(libraries.pop())
        openmp.omp_set_num_threads(2)
        print(fastconv.get_num_threads())
        fastconv.set_num_threads(7)
        print(fastconv.get_num_threads())
        print(fastconv.plan_conv2d((8, 64, 99, 99), (64, 64, 3, 3), num_threads=7).threads)
        for limit in (5, 100000, 2**31 - 1, 0, -5):
            openmp.omp_set_num_threads(limit)
            print(fastconv.get_num_threads())
    """
    given = python(code, OMP_NUM_THREADS="5", FASTCONV_NUM_THREADS="").stdout.split()
    assert given == ["2", "2", "2", "7", "7", "7", "1", "1"]


def test_more_threads_than_tiles_or_cores():
    x, weight = problem()
    expected = fastconv.conv2d(x, weight, padding=1, num_threads=1)
    np.testing.assert_array_equal(fastconv.conv2d(x, weight, padding=1, num_threads=64), expected)


@pytest.mark.parametrize(
    ("microseconds", "threads", "expected"),
    [(1e-9, 64, 1), (39, 2, 1), (41, 2, 2), (24, 64, 1), (26, 64, 5), (101, 64, 20), (1e9, 64, 64), (1e9, 1, 1)],
)
def test_threads_are_woken_for_what_they_save(monkeypatch, microseconds, threads, expected):
    monkeypatch.setattr(launch, "ratios", lambda: REFERENCE._replace(wake=1.0))
    assert launch.workers_for(1e-6 * microseconds, threads) == expected


# Tiles


def tile_kernel(function):
    signature = ctypes.CFUNCTYPE(
        None,
        ctypes.POINTER(ctypes.c_void_p),
        ctypes.POINTER(ctypes.c_int64),
        ctypes.POINTER(ctypes.c_double),
        *[ctypes.c_int64] * 3,
    )
    callback = signature(function)
    return callback, ctypes.cast(callback, ctypes.c_void_p).value


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("grain", [1, 3, 100])
@pytest.mark.parametrize("tiles", [0, 1, 7, 64])
def test_every_tile_runs_once(threads, grain, tiles):
    seen, workers = [], set()

    def kernel(arrays, ints, scalars, begin, end, worker):
        seen.extend(range(begin, end))
        workers.add(worker)
        assert end - begin <= grain
        assert (ints[0], scalars[0], arrays[1]) == (42, 0.5, None)

    keep, address = tile_kernel(kernel)
    run_tiles(address, (np.zeros(1), None), (42,), (0.5,), tiles, threads, grain)
    assert sorted(seen) == list(range(tiles))
    assert workers <= set(range(threads))
    del keep


@contextlib.contextmanager
def meeting_kernel(parties):
    """A kernel whose tiles wait until `parties` of them run at once, and the threads and workers that ran them."""
    ran = []
    meeting = threading.Barrier(parties, timeout=30)

    def kernel(arrays, ints, scalars, begin, end, worker):
        ran.append((threading.get_native_id(), worker))
        meeting.wait()

    keep, address = tile_kernel(kernel)
    yield address, ran
    del keep


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_a_team_has_as_many_threads_as_wanted(threads):
    with meeting_kernel(threads) as (address, ran):
        for _ in range(3):
            run_tiles(address, (), (), (), threads, threads)
            assert sorted(worker for _, worker in ran) == list(range(threads))
            ran.clear()


def _share_the_team():
    """However many have called, the team is one worker."""
    helpers = set()

    def use():
        with meeting_kernel(2) as (address, ran):
            run_tiles(address, (), (), (), 2, 2)
        helpers.update(thread for thread, worker in ran if worker)

    users = [threading.Thread(target=use) for _ in range(20)]
    for user in users:
        user.start()
        user.join()
    assert len(helpers) == 1


@FORKS
def test_user_threads_share_the_team():
    assert _in_a_child(_share_the_team)  # whose team is new


def test_a_caller_that_finds_the_team_taken_works_alone():
    """It ends while the other one waits for it, and gets no helpers."""
    running, ended = threading.Event(), threading.Event()
    alone = []

    def waiting(arrays, ints, scalars, begin, end, worker):
        running.set()
        assert ended.wait(30)

    def recording(arrays, ints, scalars, begin, end, worker):
        alone.append((threading.get_ident(), worker))

    keep_waiting, waiting_address = tile_kernel(waiting)
    keep_recording, recording_address = tile_kernel(recording)
    first = threading.Thread(target=run_tiles, args=(waiting_address, (), (), (), 2, 2))
    first.start()
    assert running.wait(30)
    run_tiles(recording_address, (), (), (), 50, 2)
    ended.set()
    first.join(30)
    assert not first.is_alive()
    assert alone == [(threading.get_ident(), 0)] * 50
    del keep_waiting, keep_recording


def test_regions_that_follow_each_other_do_not_mix():
    """Workers enter and leave regions of three tiles, from several user threads at once."""
    from fastconv.kernels.jit import lookup as jit

    def loop(arrays, ints, scalars, begin, end, worker):
        for tile in range(begin, end):
            arrays[0][tile] += ints[0]

    address = jit.compiled(loop, np.dtype(np.int64))
    failures = []

    def use(first):
        for i in range(first, first + 2000):
            counts = np.zeros(3, np.int64)
            run_tiles(address, (counts,), (i,), (), 3, 3)
            if counts.tolist() != [i, i, i]:
                failures.append(i)

    users = [threading.Thread(target=use, args=(10000 * n,)) for n in range(3)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert failures == []


def test_too_many_arguments_are_refused():
    for arrays, ints, scalars in (((None,) * 13, (), ()), ((), (0,) * 65, ()), ((), (), (0.0,) * 5)):
        with pytest.raises(OverflowError):
            run_tiles(0, arrays, ints, scalars, 1, 1)


def test_integers_past_64_bits_are_refused():
    with pytest.raises(OverflowError):
        run_tiles(0, (), (2**63,), (), 1, 1)


# Processes


def _meet():
    with meeting_kernel(3) as (address, ran):
        run_tiles(address, (), (), (), 3, 3)
        assert sorted(worker for _, worker in ran) == [0, 1, 2]


def _meet_and_fork():
    _meet()
    assert _in_a_child(_meet)
    _meet()


@FORKS
def test_a_forked_child_has_a_team_of_its_own():
    _meet()
    assert _in_a_child(_meet_and_fork)
    _meet()


@FORKS
def test_a_thread_may_fork():
    children = []
    _meet()
    thread = threading.Thread(target=lambda: children.append(_in_a_child(_meet_and_fork)))
    thread.start()
    thread.join()
    assert children == [True]


@FORKS
def test_a_child_that_was_forked_in_the_middle_of_a_region_has_a_team():
    """Its parent's other thread holds the team, and a worker is inside."""
    running, ended = threading.Barrier(3, timeout=30), threading.Event()

    def waiting(arrays, ints, scalars, begin, end, worker):
        running.wait()
        assert ended.wait(60)

    keep, address = tile_kernel(waiting)
    caller = threading.Thread(target=run_tiles, args=(address, (), (), (), 2, 2))
    caller.start()
    running.wait()
    passed = _in_a_child(_meet)
    ended.set()
    caller.join()
    assert passed
    _meet()
    del keep


def _convolved(strategy, threads):
    x, weight = problem()
    return fastconv.conv2d(x, weight, padding=1, strategy=strategy, num_threads=threads).tobytes()


# Children that inherit nothing are the same for every strategy.
METHODS = [("fork", strategy) for strategy in STRATEGIES] + [
    (method, "implicit") for method in multiprocessing.get_all_start_methods() if method != "fork"
]


@FORKS
@pytest.mark.parametrize(("method", "strategy"), METHODS)
def test_a_child_computes_the_same(method, strategy):
    expected = _convolved(strategy, 4)  # the team exists before the fork
    with multiprocessing.get_context(method).Pool(2) as pool:
        children = [pool.apply_async(_convolved, (strategy, 4)) for _ in range(3)]
        assert [child.get(timeout=60) == expected for child in children] == [True] * 3
    assert _convolved(strategy, 4) == expected


@FORKS
def test_fork_while_another_thread_computes():
    stop = threading.Event()
    expected = _convolved("im2col", 2)

    def busy():
        while not stop.is_set():
            _convolved("im2col", 2)

    worker = threading.Thread(target=busy)
    worker.start()
    try:
        for _ in range(5):
            child = multiprocessing.get_context("fork").Process(target=_check, args=(expected,))
            child.start()
            child.join(60)
            assert child.exitcode == 0
    finally:
        stop.set()
        worker.join()


def _check(expected):
    assert _convolved("im2col", 2) == expected
    assert _convolved("direct", 2) is not None


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("strategy", ["direct", "im2col", "implicit"])
def test_ctrl_c_interrupts_a_long_call(strategy, threads):
    """Some minutes of work, in tiles of milliseconds: the call ends with KeyboardInterrupt, and the next one works."""
    code = f"""
        import numpy as np, fastconv
        x, w = np.ones((1, 64, 128, 128), "f4"), np.ones((64, 64, 3, 3), "f4")
        fastconv.conv2d(x[:, :, :9], w, strategy={strategy!r}, num_threads={threads})
        print("ready", flush=True)
        try:
            fastconv.conv2d(np.broadcast_to(x, (3000, *x.shape[1:])), w, stride=(1, 1), strategy={strategy!r},
                            num_threads={threads})
        except KeyboardInterrupt:
            print(fastconv.conv2d(x, w, strategy={strategy!r}, num_threads={threads}).max())
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=15)
    finally:
        process.kill()
    assert output == "576.0\n"
    assert process.returncode == 0


def test_a_signal_handler_may_raise_what_it_likes():
    """As pytest-timeout does: the exception of an alarm's handler leaves the call."""
    code = """
        import signal, numpy as np, fastconv
        class Alarm(Exception): pass
        def handler(*_): raise Alarm
        x, w = np.ones((1, 64, 128, 128), "f4"), np.ones((64, 64, 3, 3), "f4")
        fastconv.conv2d(x, w, num_threads=2)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        try:
            fastconv.conv2d(np.broadcast_to(x, (3000, *x.shape[1:])), w, num_threads=2)
        except Alarm:
            print(fastconv.conv2d(x, w, num_threads=2, tolerance=0).max())
    """
    result = python(code)
    assert (result.stdout, result.stderr) == ("576.0\n", "")


def test_without_a_writable_cache():
    """Where Numba finds no directory for its code it compiles all the same."""
    code = """
        import numpy as np, fastconv
        from numba.core.caching import CacheImpl
        CacheImpl._locator_classes = []
        print(fastconv.conv2d(np.ones((1, 5, 5)), np.ones((1, 1, 3, 3)), strategy="direct").sum())
    """
    result = python(code)
    assert (result.stdout, result.stderr) == ("81.0\n", "")


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system lets no thread choose its cores")
def test_workers_leave_the_cores_of_the_process_as_they_were():
    """They are sent to other cores than their caller's when they wake, and may run on all again once they do."""
    before = os.sched_getaffinity(0)
    with fastconv.num_threads(3):
        for pause in (0, 0.01):
            time.sleep(pause)  # for longer than they spin
            x, weight = np.ones((1, 64, 56, 56), np.float32), np.ones((64, 64, 3, 3), np.float32)
            fastconv.conv2d(x, weight)
    time.sleep(0.01)
    threads = {int(task) for task in os.listdir("/proc/self/task")} if os.path.isdir("/proc/self/task") else {0}
    assert os.sched_getaffinity(0) == before
    assert all(os.sched_getaffinity(thread) <= before for thread in threads)


def test_scratch_memory_is_kept_and_never_shared():
    """Of arrays that are alive no two overlap; what the first left behind is what the next of its size gets."""
    team.release_scratch()
    byte = np.dtype("u1")
    sizes = [1000, 5000, 100, 300_000, 70]
    alive = [team.aligned_empty(size, byte) for size in sizes]
    assert all(array.ctypes.data % 64 == 0 for array in alive)
    assert not any(np.may_share_memory(a, b) for a, b in itertools.combinations(alive, 2))
    addresses = {array.ctypes.data for array in alive}
    view = alive[1][10:20]
    del alive
    again = [team.aligned_empty(size, byte) for size in sizes]
    assert len({array.ctypes.data for array in again} & addresses) == len(sizes) - 1
    assert not any(np.may_share_memory(view, array) for array in again)


def test_little_scratch_memory_is_kept():
    team.release_scratch()
    tracemalloc.start()
    try:
        arrays = [team.aligned_empty(4 << 20, np.dtype("u1")) for _ in range(20)]
        arrays.append(team.aligned_empty(100 << 20, np.dtype("u1")))
        del arrays
        assert tracemalloc.get_traced_memory()[0] < 26 << 20
        team.release_scratch()
        assert tracemalloc.get_traced_memory()[0] < 1 << 20
    finally:
        tracemalloc.stop()
