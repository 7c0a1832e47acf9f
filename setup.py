"""The extension table; everything else is in pyproject.toml."""

import os
import platform
import re
import shlex
import subprocess
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from copy import copy
from itertools import count
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_clib import build_clib
from setuptools.command.build_ext import build_ext

KERNELS = "src/fastconv/kernels"
SIMD = f"{KERNELS}/simd"
# Debugging information, which Python's own flags ask for, takes a fifth of the time.
OPTIMISED = ["-O3", "-g0", "-falign-functions=64", "-falign-loops=64", "-fno-math-errno", "-fno-trapping-math"]

# An instruction set: one entry here, and one in kernels/simd/simd.h, from which kernels/cpu.pyx picks at import.
# The baseline of arm64 is NEON.
INSTRUCTION_SETS = {"baseline": []}
if platform.machine() in ("x86_64", "AMD64"):
    INSTRUCTION_SETS["avx2"] = ["-mavx2", "-mfma"]
    INSTRUCTION_SETS["avx512"] = ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma"]

# Short copies must stay loops: a call would take longer. Clang and GCC have different names for that.
COMPILER = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC"))
IS_CLANG = "clang" in subprocess.run([*COMPILER, "--version"], capture_output=True, text=True).stdout
LOOPS_STAY = ["-fno-builtin-memcpy", "-fno-builtin-memset"] if IS_CLANG else ["-fno-tree-loop-distribute-patterns"]

# `make asan` instruments the extensions and the kernels of one instruction set. There, integer overflow is an error,
# although Python's own flags let integers wrap around. GCC's object-size check takes the shorter of two arrays for the
# size of both.
SANITISED_ISA = os.environ.get("FASTCONV_SANITIZE")
SANITISERS = []
if SANITISED_ISA:
    SANITISERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-sanitize=object-size"]
    OPTIMISED = ["-O1", "-g", "-fno-omit-frame-pointer", "-fno-wrapv", *SANITISERS, *OPTIMISED[2:]]

# Each source is compiled once per instruction set. What takes longest comes first, but for the table: a library is
# linked before those that it needs.
SIMD_KINDS = ("table", "ordered", "near", "float32", "float64", "windows", "ranks", "integers")

# Where each product and each sum is rounded, a multiply-add would round once.
ROUNDED_TWICE = {"ordered": ["-ffp-contract=off"]}


def headers(source: str) -> list[str]:
    """The headers in simd/ that a source there includes, and those that these include."""
    found, unread = set(), [source]
    while unread:
        included = re.findall(r'#include "(?:.*/)?(\w+\.h)"', Path(SIMD, unread.pop()).read_text(encoding="utf-8"))
        unread += set(included) - found
        found |= set(included)
    return [f"{SIMD}/{header}" for header in sorted(found)]


SIMD_LIBRARIES = [
    (
        f"fastconv_simd_{isa}_{kind}",
        {
            "sources": [f"{SIMD}/{kind}.c"],
            "obj_deps": {"": headers(f"{kind}.c")},
            "macros": [("SIMD_ISA", isa)],
            "cflags": [*(OPTIMISED if SANITISED_ISA in (None, isa) else ["-O1"]), *flags, *ROUNDED_TWICE.get(kind, [])],
        },
    )
    for kind in SIMD_KINDS
    for isa, flags in INSTRUCTION_SETS.items()
]


class Progress:
    """Reports each compiled part to the file FASTCONV_PROGRESS names: pip shows a build's output only if it fails."""

    def __init__(self) -> None:
        self.path = os.environ.get("FASTCONV_PROGRESS", os.devnull)
        self.total = len(SIMD_LIBRARIES) + len(EXTENSIONS)
        self.parts = count(1)

    def report(self, name: str) -> None:
        with suppress(OSError), open(self.path, "a") as file:
            file.write(f"  compiled {next(self.parts):2} of {self.total}: {name}\n")


class ParallelBuildClib(build_clib):
    """Libraries are built side by side; in directories of their own, as many have the same source."""

    def build_libraries(self, libraries: list) -> None:
        def build(library: tuple) -> None:
            command = copy(self)
            command.build_temp = str(Path(self.build_temp, library[0]))
            build_clib.build_libraries(command, [library])
            PROGRESS.report(library[0])

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(build, libraries))


class ReportingBuildExt(build_ext):
    def build_extension(self, extension: Extension) -> None:
        super().build_extension(extension)
        PROGRESS.report(extension.name)


def extension(module: str, **options) -> Extension:
    source = f"src/{module.replace('.', '/')}.pyx"
    return Extension(
        module,
        [source],
        depends=[f"{SIMD}/simd.h", f"{KERNELS}/region.h", f"{KERNELS}/team.h", *options.pop("depends", [])],
        include_dirs=[np.get_include(), KERNELS],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        extra_compile_args=[*OPTIMISED, *options.pop("compile_args", [])],
        extra_link_args=[*SANITISERS, *options.pop("link_args", [])],
        **options,
    )


EXTENSIONS = [
    extension("fastconv.kernels.threads", compile_args=["-fopenmp"], link_args=["-fopenmp"]),
    extension("fastconv.kernels.recordings"),
    extension("fastconv.kernels.convert"),
    # The one that all C kernels are linked into.
    extension("fastconv.kernels.cpu", depends=sorted(map(str, Path(SIMD).glob("*.[ch]")))),
    extension("fastconv.kernels.epilogue"),
    extension("fastconv.kernels.jit.executable"),
    extension("fastconv.kernels.losses"),
    extension("fastconv.kernels.lowering"),
    extension("fastconv.kernels.patches"),
    extension("fastconv.kernels.rectifying"),
    extension("fastconv.kernels.reuse"),
    extension("fastconv.kernels.scatter"),
    extension("fastconv.kernels.slots"),
    extension("fastconv.kernels.sweep", compile_args=LOOPS_STAY),
    extension("fastconv.kernels.volumes"),
]
PROGRESS = Progress()

setup(
    libraries=SIMD_LIBRARIES,
    cmdclass={"build_clib": ParallelBuildClib, "build_ext": ReportingBuildExt},
    options={"build_ext": {"parallel": os.cpu_count()}},
    ext_modules=cythonize(
        EXTENSIONS,
        compiler_directives={
            "language_level": "3",
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
        },
    ),
)
