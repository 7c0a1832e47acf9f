"""The manners of kernels that Numba compiles: what the cache on disk holds, and what happens without one."""

import os
import subprocess
import sys

import numpy as np
import pytest

from fastconv.kernels import jit

CODE = """
import numpy as np, sys
from fastconv.kernels import jit
from fastconv.threads import run_tiles

def kernel(VALUE):
    def loop(arrays, ints, scalars, begin, end, worker):
        arrays[0][0] = VALUE
    return jit.tile_kernel(loop, np.dtype("int64"))

for value in map(int, sys.argv[1:]):
    out = np.zeros(1, np.int64)
    run_tiles(kernel(value).address, (out,), (), (), 1, 1)
    assert out[0] == value, (out, value)
print(sum(compiled.cached for compiled in jit.COMPILED))
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(CODE)
    return path


def start(script, cache, *values):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, str(script), *map(str, values)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def found(process):
    """How many kernels the process found on disk."""
    out, errors = process.communicate()
    assert process.returncode == 0, errors
    return int(out)


def test_processes_that_start_at_once_share_a_cache_and_get_their_own_kernels(script, tmp_path):
    racing = [start(script, tmp_path / "cache", *values) for values in ((1, 2, 3), (3, 4, 5), (5, 1, 2))]
    for process in racing:
        found(process)
    assert found(start(script, tmp_path / "cache", 1, 2, 3, 4, 5, 6)) == 5


def test_a_cache_that_cannot_be_written_or_read_is_done_without(script, tmp_path):
    (tmp_path / "file").write_text("no directory")
    # Numba falls back to __pycache__ beside the script, and to the user's cache: neither can be made here.
    (tmp_path / "__pycache__").write_text("no directory")
    environment = {"HOME": str(tmp_path / "file"), "XDG_CACHE_HOME": str(tmp_path / "file")}
    environment |= {key: value for key, value in os.environ.items() if key in ("PATH", "PYTHONPATH")}
    command = [sys.executable, str(script), "7"]
    environment["NUMBA_CACHE_DIR"] = str(tmp_path / "file" / "cache")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


# Permissions would not stop the superuser, as whom tests may run.
READ_ONLY = """
import os, sys

def refuse(event, arguments):
    if event in ("open", "os.mkdir", "os.rename", "os.remove"):
        path, mode, flags = (*arguments, 0, 0)[:3]
        writes = event != "open" or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes and str(path).startswith(os.environ["NUMBA_CACHE_DIR"]):
            raise PermissionError(path)

sys.addaudithook(refuse)
"""


def test_a_cache_that_is_read_only_is_read(script, tmp_path):
    cache = tmp_path / "cache"
    found(start(script, cache, 9))
    kept = {path: path.read_bytes() for path in cache.rglob("*.nb[ci]")}
    assert kept
    # Numba's other directories, one beside the script and the user's, cannot be made.
    (tmp_path / "__pycache__").write_text("no directory")
    sitecustomize = tmp_path / "site"
    sitecustomize.mkdir()
    (sitecustomize / "sitecustomize.py").write_text(READ_ONLY)
    environment = {"HOME": str(script), "XDG_CACHE_HOME": str(script), "NUMBA_CACHE_DIR": str(cache)}
    environment["PATH"] = os.environ.get("PATH", "")
    environment["PYTHONPATH"] = os.pathsep.join([str(sitecustomize), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(script), "9", "10"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 1
    assert {path: path.read_bytes() for path in cache.rglob("*.nb[ci]")} == kept


def test_a_broken_file_in_the_cache_is_compiled_past(script, tmp_path):
    cache = tmp_path / "cache"
    found(start(script, cache, 8))
    for file in cache.rglob("*.nb[ci]"):
        file.write_bytes(b"broken")
    assert found(start(script, cache, 8)) == 0


def test_a_kernel_is_named_by_all_that_it_is_compiled_from(monkeypatch):
    def made(VALUE):
        def loop():
            return VALUE

        return loop

    def name():
        return jit._kernel_name(made(1), np.dtype("f"))

    names = [name(), jit._kernel_name(made(2), np.dtype("f")), jit._kernel_name(made(1), np.dtype("d"))]
    assert name() == names[0]
    monkeypatch.setattr(jit, "_sources", lambda: "another release of kernels/vector.py")
    names.append(name())
    assert len(set(names)) == 4
