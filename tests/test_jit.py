"""Kernels that are compiled when first called: what is kept on disk, what is not run from there, interruptions."""

import _imp
import importlib
import itertools
import os
import platform
import re
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import fastconv
from fastconv.engine import pooling
from fastconv.engine.pooling import base
from fastconv.kernels import shield
from fastconv.kernels.jit import executable, store
from fastconv.kernels.jit import lookup as jit
from fastconv.kernels.threads import run_tiles

F4 = np.dtype("f4")

# Calls whose kernels are few and quick to compile. They print how many kernels were compiled, and whether what that
# takes was loaded.
CODE = """
import sys
import numpy as np
import fastconv
from fastconv.kernels.jit import lookup as jit

x = np.arange(48, dtype="f4").reshape(1, 1, 6, 8)
values, places = fastconv.max_pool2d(x, 2, return_indices=True)
np.testing.assert_array_equal(places[0, 0], 9 + 2 * np.arange(4) + 16 * np.arange(3)[:, None])
np.testing.assert_array_equal(values, places)
pairs = fastconv.ndimage.correlate(np.stack([x[0, 0]] * 3), np.ones((2, 2, 2)))
np.testing.assert_array_equal(pairs[1, 1:, 1:], 2 * (x[0, 0, 1:, 1:] + x[0, 0, :-1, :-1]) * 2)
print(sum(not compiled.cached for compiled in jit.COMPILED), len({"numba", "llvmlite"} & sys.modules.keys()))
"""
KERNELS = 2


@pytest.fixture
def cache(tmp_path):
    """A directory of kernels, and what names it."""
    (tmp_path / "cache").mkdir(mode=0o755)
    return tmp_path / "cache"


def start(cache):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    return subprocess.Popen(
        [sys.executable, "-c", CODE], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def compiled(process):
    """How many kernels the process compiled."""
    out, errors = process.communicate()
    assert process.returncode == 0, errors
    kernels, libraries = map(int, out.split())
    assert (kernels > 0) == (libraries > 0)
    return kernels


def files(cache):
    return sorted(path for path in cache.rglob("*") if path.is_file())


def test_processes_that_start_at_once_share_a_cache_and_later_ones_compile_nothing(cache):
    racing = [start(cache) for _ in range(3)]
    assert max(map(compiled, racing)) == KERNELS
    kept = {path: path.read_bytes() for path in files(cache)}
    assert len(kept) == KERNELS
    assert {path.suffix for path in kept} == {".nbc"}
    assert compiled(start(cache)) == 0
    assert {path: path.read_bytes() for path in files(cache)} == kept


# The store itself, with codes that are never run.
NAME, FACTS, CODE_BYTES = "module:kernel", ("all that decides", "what it is"), bytes(range(256)) * 40


@pytest.fixture
def kept(cache, monkeypatch):
    """The path of a kernel that is kept on disk."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(cache))
    store.save(NAME, FACTS, CODE_BYTES)
    (path,) = files(cache)
    assert store.load(NAME, FACTS) == CODE_BYTES
    return path


def put(damage, path):
    """Let the file at `path` have come to harm."""
    content = path.read_bytes()
    half = len(content) // 2
    path.unlink()
    match damage:
        case "missing":
            pass
        case "empty":
            path.write_bytes(b"")
        case "cut":
            path.write_bytes(content[:half])
        case "changed":
            path.write_bytes(content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :])
        case "longer":
            path.write_bytes(content + b"more")
        case "huge":
            path.touch()
            os.truncate(path, 1 << 40)
        case "directory":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "link":
            path.with_suffix(".elsewhere").write_bytes(content)
            path.symlink_to(path.with_suffix(".elsewhere"))
        case "writable":
            path.write_bytes(content)
            path.chmod(0o666)


DAMAGES = ["missing", "empty", "cut", "changed", "longer", "huge", "directory", "pipe", "link", "writable"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_came_to_harm_is_not_loaded_and_is_replaced(kept, damage):
    put(damage, kept)
    assert store.load(NAME, FACTS) is None
    store.save(NAME, FACTS, CODE_BYTES)
    if damage != "directory":
        assert store.load(NAME, FACTS) == CODE_BYTES
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_a_file_under_the_name_of_another_is_not_loaded(kept):
    assert store.load(NAME, (*FACTS, "but for its type")) is None


def disown(path, monkeypatch):
    """Let `path` belong to another user, without the privilege to give it away if need be."""
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)


def test_what_belongs_to_another_user_is_not_loaded(kept, monkeypatch):
    disown(kept, monkeypatch)
    assert store.load(NAME, FACTS) is None


@pytest.mark.parametrize("level", [1, 2])
def test_a_directory_of_another_user_is_refused(kept, monkeypatch, level):
    disown(kept.parents[level - 1], monkeypatch)
    assert store.load(NAME, FACTS) is None
    assert store.writable_directory() is None


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_a_directory_that_others_may_write_is_refused(kept, mode):
    kept.parent.chmod(mode)
    assert store.load(NAME, FACTS) is None
    assert store.writable_directory() is None


def test_a_directory_whose_place_others_may_take_is_refused(kept, cache):
    cache.chmod(0o777)
    assert store.load(NAME, FACTS) is None
    assert store.writable_directory() is None
    cache.chmod(0o1777)  # as /tmp is: only its owner may rename what is in it
    assert store.load(NAME, FACTS) == CODE_BYTES


def test_nothing_is_put_where_others_may_write(cache, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(cache))
    cache.chmod(0o777)
    store.save(NAME, FACTS, CODE_BYTES)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/self/cache", "/dev/null"])
def test_a_place_where_nothing_can_be_kept_is_done_without(cache, monkeypatch, place):
    (cache / "file").write_text("no directory")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(cache / place))
    store.save(NAME, FACTS, CODE_BYTES)
    assert store.load(NAME, FACTS) is None
    assert store.writable_directory() is None


def test_a_read_only_directory_is_read(kept, monkeypatch):
    def refuse(*arguments, **keywords):
        raise PermissionError("read-only")

    # Permissions would not stop the superuser, as whom tests may run.
    for name in ("utime", "mkdir", "replace", "unlink"):
        monkeypatch.setattr(os, name, refuse)
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    os.chmod(kept, 0o400)
    assert store.load(NAME, FACTS) == CODE_BYTES
    store.save("module:other", FACTS, CODE_BYTES)
    assert list(kept.parent.iterdir()) == [kept]


def test_a_full_disk_leaves_nothing_behind(kept):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        store.save("module:other", FACTS, CODE_BYTES)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(kept.parent.iterdir()) == [kept]
    assert store.load("module:other", FACTS) is None


def test_the_kernels_used_last_are_kept(kept, monkeypatch):
    monkeypatch.setattr(store, "MOST_KEPT", 3)
    names = [f"module:kernel{n}" for n in range(4)]
    for age, name in enumerate([*names[:2], NAME], 2):
        store.save(name, FACTS, CODE_BYTES)
        (path,) = kept.parent.glob(f"{name.replace(':', '.')}-*")
        os.utime(path, (time.time() - 10000 * age,) * 2)
    assert store.load(NAME, FACTS) == CODE_BYTES  # a use
    store.save(names[2], FACTS, CODE_BYTES)
    store.save(names[3], FACTS, CODE_BYTES)
    assert [store.load(name, FACTS) is not None for name in (*names, NAME)] == [False, False, True, True, True]


def test_kernels_of_another_release_are_dropped_once_nobody_uses_them(kept, monkeypatch):
    unfinished = kept.with_name(".of a process that died")
    unfinished.touch()
    monkeypatch.setattr(store, "_release", lambda: "the next")
    assert store.load(NAME, FACTS) is None
    store.save(NAME, FACTS, CODE_BYTES)
    assert kept.exists()
    assert unfinished.exists()
    for path in (kept, unfinished):
        os.utime(path, (time.time() - 90000,) * 2)
    store.save("module:other", FACTS, CODE_BYTES)
    assert not kept.exists()
    assert not unfinished.exists()
    assert store.load(NAME, FACTS) == CODE_BYTES


def test_without_a_setting_kernels_lie_beside_the_sources_or_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(store, "__file__", str(tmp_path / "package" / "store.py"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    store.save(NAME, FACTS, CODE_BYTES)
    (tmp_path / "package").rename(tmp_path / "moved")
    (tmp_path / "package").write_text("no directory")
    assert store.load(NAME, FACTS) is None
    store.save(NAME, FACTS, CODE_BYTES)
    assert store.load(NAME, FACTS) == CODE_BYTES
    places = {path.parent.relative_to(tmp_path).as_posix() for path in files(tmp_path)}
    assert {"moved/__pycache__/fastconv-kernels", "user/fastconv-kernels"} <= places


def test_a_kernel_is_named_by_all_that_it_is_compiled_from(monkeypatch):
    kernels = list(itertools.product(("m:f", "m:g"), (F4, np.dtype("f8")), (0, 1, "1")))

    def names():
        return {store._named(kernel[0], jit._facts(kernel)) for kernel in kernels}

    assert len(names()) == len(kernels)
    assert jit._facts(("m:f", np.dtype("q"), 1)) == jit._facts(("m:f", np.dtype("l"), 1))
    before = names()
    monkeypatch.setattr(jit, "cpu_facts", lambda: ("another CPU",))
    assert not before & names()
    before |= names()
    monkeypatch.setattr(store, "_release", lambda: "another release of Numba")
    assert not before & names()


def named_kernels():
    """The kernels that the package asks for, as it names them."""
    sources = "".join(path.read_text() for path in Path(fastconv.__file__).parent.rglob("*.py"))
    pools = [solver.name for solver in pooling.SOLVERS if issubclass(solver, base.PoolSolver)]
    return sorted(
        {*re.findall(r'tile_kernel\(\s*"([\w.]+:\w+)"', sources), *(f"pools.{name}:{name}_kernel" for name in pools)}
    )


def test_the_kernels_that_are_asked_for_exist():
    assert len(named_kernels()) >= 7
    for module, function in (name.split(":") for name in named_kernels()):
        assert callable(getattr(importlib.import_module(f"fastconv.kernels.jit.{module}"), function))


@pytest.fixture
def asked(monkeypatch):
    """The kernels that plans ask for; none is compiled."""
    kernels = set()

    def ask(*kernel):
        kernels.add(kernel)
        return 0

    monkeypatch.setattr(base, "tile_kernel", ask)
    return kernels


def per_type(kernels):
    """How many kernels the type that has most of them has, by kind of number."""
    counts = Counter(dtype for _, dtype, *_ in kernels)
    return {kind: max(n for dtype, n in counts.items() if dtype.kind in kind) for kind in ("f", "iu")}


TYPES = [np.dtype(code) for code in "bBhHiIqQfd"]


def test_windows_of_any_extents_share_few_kernels(asked):
    """A type has kernels for a few classes of windows, however many windows a program uses."""
    rng = np.random.default_rng(0)
    for trial in range(1500):
        dtype = TYPES[trial % len(TYPES)]
        shape = (1, 2, *rng.integers(30, 60, 2).tolist())
        kernel, stride = rng.integers(1, 12 if trial % 2 else 4, 2).tolist(), rng.integers(1, 5, 2).tolist()
        dilation = rng.integers(1, 3) if trial % 3 == 0 else 1
        able = [kind for kind in pooling.KINDS if not kind.averages or (dtype.kind == "f" and dilation == 1)]
        kind = able[rng.integers(len(able))]
        strides = np.empty(shape, dtype)[:, :, :: 1 + trial % 5 // 4].strides
        pooling._regular.__wrapped__(
            shape, strides, dtype, kind, base.PLAIN, 1, 2, False, tuple(kernel), tuple(stride), 0, int(dilation), False
        )
    # Of maxima, of means and of those whose divisors are powers of 2: windows of up to 3 × 3 at strides 1 and 2, and
    # all others.
    unrolled = 3 * 3 * 2
    others = ("doubling", "folding", "walking")
    assert per_type(asked)["f"] <= 3 * (unrolled + len(others)) + 1
    assert per_type(asked)["iu"] <= unrolled + len(others) + 1


def doubled(arrays, ints, scalars, begin, end, worker):
    """Twice what the first array holds; LLVM fills and copies memory by functions of the C library."""
    x, out, zeros, copy = arrays[0], arrays[1], arrays[2], arrays[3]
    for at in range(ints[0]):
        zeros[at] = 0
    for at in range(ints[0]):
        copy[at] = x[at]
    for at in range(ints[0]):
        out[at] = 2 * copy[at] + zeros[at]


def test_an_image_and_an_object_file_do_the_same():
    from fastconv.kernels.jit import image

    module, machine = image._module(doubled, F4)
    flat = image._flat(module.clone(), machine)
    assert flat is not None or platform.machine() != "x86_64"
    codes = [machine.emit_object(module), *([] if flat is None else [flat])]
    x = np.arange(1000, dtype=F4)
    for code in codes:
        out, zeros, copy = np.full((3, 1000), np.nan, F4)
        run_tiles(jit._loaded(code), (x, out, zeros, copy), (1000,), (), 1, 1)
        np.testing.assert_array_equal(out, 2 * x)
        np.testing.assert_array_equal(copy, x)
        np.testing.assert_array_equal(zeros, 0)


def test_a_kernel_that_can_raise_is_kept_as_an_object_file():
    from fastconv.kernels.jit import image

    def loop(arrays, ints, scalars, begin, end, worker):
        for at in range(0, 6, ints[0]):  # Numba raises for a step of 0
            arrays[0][at] = at

    code = image.compiled(loop, F4)
    out = np.zeros(6, F4)
    run_tiles(jit._loaded(code), (out,), (2,), (), 1, 1)
    assert out.tolist() == [0, 0, 2, 0, 4, 0]
    assert not code.startswith(b"\0")


@pytest.mark.parametrize(
    "code", [b"", bytes(32), bytes(1000), (1000).to_bytes(8, "little") + bytes(992), b"\xff" * 100]
)
def test_what_is_no_image_is_refused(code):
    with pytest.raises(ValueError, match="image"):
        executable.load(code)


def interrupted_by_a_handler(work, after):
    """Call `work` in the main thread; a signal's handler raises after so many seconds."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, after)
    try:
        with pytest.raises(KeyboardInterrupt):
            work()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_an_interrupted_call_leaves_its_work_to_be_finished():
    go_on, made = threading.Event(), []

    def work():
        assert go_on.wait(30)
        made.append("half")
        made.append("whole")
        return list(made)

    interrupted_by_a_handler(lambda: shield.shielded(work), 0.01)
    assert made == []
    go_on.set()
    assert shield.shielded(lambda: list(made)) == ["half", "whole"]  # after the other


def test_errors_of_shielded_work_are_raised_where_it_was_asked_for():
    with pytest.raises(ZeroDivisionError):
        shield.shielded(lambda: 1 // 0)
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        shield.imported("nowhere.at_all")


@pytest.mark.parametrize("in_main_thread", [True, False])
def test_shielded_work_may_ask_for_more(in_main_thread):
    results = []

    def ask():
        results.append(shield.shielded(lambda: shield.shielded(lambda: shield.imported("json")).__name__))

    if in_main_thread:
        ask()
    else:
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(30)
    assert results == ["json"]


def test_work_is_done_where_no_thread_can_be_started(monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert shield.shielded(lambda: threading.current_thread() is threading.main_thread())


def test_a_lock_that_an_interrupted_import_has_kept_does_not_stop_later_ones(monkeypatch):
    _imp.acquire_lock()  # as Python 3.11 leaves it if a signal's handler raises at the end of an import
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    assert shield.shielded(lambda: importlib.import_module("colorsys")).__name__ == "colorsys"


FORK = """
import os, threading, time
from fastconv.kernels import shield

started, parts = threading.Event(), []
def work():
    parts.append("half")
    started.set()
    time.sleep(0.2)
    parts.append("whole")

thread = threading.Thread(target=shield.shielded, args=(work,))
thread.start()
started.wait()
child = os.fork()
assert parts == ["half", "whole"], parts
assert shield.shielded(lambda: 7) == 7
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


def test_a_fork_waits_for_shielded_work_and_its_child_can_do_some():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


INTERRUPTED = """
import signal, sys
import numpy as np
import fastconv

x = np.arange(48, dtype="f4").reshape(1, 1, 6, 8)
calls = {
    "compiled": lambda: fastconv.max_pool2d(x, 2, return_indices=True)[0],
    "sparse": lambda: fastconv.conv2d(x, x[:, :, :2, :2], strategy="toeplitz"),
    "scipy": lambda: fastconv.signal.convolve(x[0, 0], x[0, 0].astype("g")),
}
call = calls[sys.argv[1]]
calling = False

def interrupt(*_):
    global calling
    if calling:
        calling = False
        raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
# Signals that come again and again find many places.
signal.setitimer(signal.ITIMER_REAL, 0.005, 0.03)
interrupts = 0
while True:
    try:
        calling = True
        result = call()
        calling = False
        break
    except KeyboardInterrupt:
        interrupts += 1
signal.setitimer(signal.ITIMER_REAL, 0)
np.testing.assert_array_equal(call(), result)
for call in calls.values():
    assert np.isfinite(call()).all()
assert interrupts
"""


@pytest.mark.parametrize("first", ["compiled", "sparse", "scipy"])
def test_a_first_call_that_is_interrupted_again_and_again_can_be_repeated(first, cache):
    command = [sys.executable, "-c", INTERRUPTED, first]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
