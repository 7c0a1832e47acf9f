"""From a readable Python loop to a tile kernel's native address.

Numba compiles the loop as a C callback of the signature that `fastconv.threads` documents, so no Numba
dispatch, unboxing or threading layer stands between a call and its loop. Pointers are indexed directly:
there are no bounds, no wrap-around of negative indices, and LLVM sees plain addresses that it can vectorise.

Machine code is kept on disk where Numba finds a directory that it may write (``NUMBA_CACHE_DIR``, beside the sources,
or the user's cache), and found in all of these, whether they may be written or not. Numba would keep all kernels of one
loop in one index, and number their files by it: two processes that compile different ones at once can give both one
number, and later run one for the other. So each kernel has an index of its own, named after all that it is compiled
from; processes that race write the same.
"""

from __future__ import annotations

import functools
import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import from_dtype, types
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.ccallback import CFunc
from numba.core.registry import cpu_target
from numba.core.sigutils import normalize_signature
from numba.extending import intrinsic


class Compiled(NamedTuple):
    """A kernel that this process has got: which, how long that took, and whether it was found on disk."""

    name: str
    seconds: float
    cached: bool


COMPILED: list[Compiled] = []


@functools.cache
def cache_directory() -> Path | None:
    """Where kernels are kept on disk; ``None`` if Numba finds no directory that it may write."""
    try:
        return Path(FunctionCache(_kernel_name).cache_path)
    except RuntimeError:
        return None


def cached_kernels() -> tuple[int, int]:
    """How many kernels are on disk, of this version or of others, and their bytes."""
    directory = cache_directory()
    sizes = [path.stat().st_size for path in directory.glob("*.tile_*.nbc")] if directory else []
    return len(sizes), sum(sizes)


def tile_kernel(loop: Callable[..., None], dtype: np.dtype) -> Any:
    """Compile ``loop(arrays, ints, scalars, begin, end, worker)`` for arrays of `dtype`; see its ``address``."""
    pointer = types.CPointer(from_dtype(dtype))
    signature = types.void(
        types.CPointer(pointer),
        types.CPointer(types.int64),
        types.CPointer(types.float64),
        *[types.int64] * 3,
    )
    # Contraction lets a multiplication and an addition fuse; nothing is reassociated, so sums keep their order.
    options = {"fastmath": {"contract"}, "error_model": "numpy"}
    loop.__qualname__ = _kernel_name(loop, dtype)
    begin = time.perf_counter()
    kernel = CFunc(loop, normalize_signature(signature), {}, options)
    kernel._cache = _Kept(loop)
    kernel.compile()
    COMPILED.append(Compiled(loop.__qualname__, time.perf_counter() - begin, kernel.cache_hits > 0))
    return kernel


class _Kept:
    """What Numba asks for a kernel before it compiles one, and gives one to that it has compiled.

    Of one directory, the first that may be written, it would ask by itself. No failure is an error (no directory, a
    full disk, a broken file): the kernel does not need to be kept.
    """

    def __init__(self, loop: Callable[..., None]) -> None:
        self.loop = loop

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        for cache in _readable_caches():
            with suppress(Exception):
                if (kernel := cache(self.loop).load_overload(signature, target_context)) is not None:
                    return kernel
        return None

    def save_overload(self, signature: Any, kernel: Any) -> None:
        with suppress(Exception):
            FunctionCache(self.loop).save_overload(signature, kernel)


@functools.cache
def _readable_caches() -> list[type[FunctionCache]]:
    """One for each place where Numba looks for a directory, which need not be one that may be written."""

    def there(locator):
        if not os.path.isdir(locator.get_cache_path()):
            raise FileNotFoundError(locator.get_cache_path())

    def cache(locator):
        readable = type(locator.__name__, (locator,), {"ensure_cache_path": there})
        implementation = type("Readable", (CompileResultCacheImpl,), {"_locator_classes": [readable]})
        return type("Readable", (FunctionCache,), {"_impl_class": implementation})

    return [cache(locator) for locator in CompileResultCacheImpl._locator_classes]


def _kernel_name(loop: Callable[..., None], dtype: np.dtype) -> str:
    """A file's name for the kernel of `loop`, of its constants, the CPU, and the sources of all that it may call."""
    constants = [
        f"{name}={getattr(cell.cell_contents, '__qualname__', None) or repr(cell.cell_contents)}"
        for name, cell in zip(loop.__code__.co_freevars, loop.__closure__ or (), strict=True)
    ]
    cpu = cpu_target.target_context.codegen().magic_tuple()
    facts = (loop.__module__, loop.__code__.co_firstlineno, *constants, str(dtype), *cpu, _sources())
    return f"tile_{hashlib.sha256(repr(facts).encode()).hexdigest()[:24]}"


@functools.cache
def _sources() -> str:
    """A digest of this package: Numba looks at the file of the loop alone, not at what that imports."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@intrinsic
def as_int64(typingctx, pointer):
    """`pointer` as one to int64, for the array of a kernel that is of another type than the rest."""
    target = types.CPointer(types.int64)

    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(target))

    return target(pointer), codegen


@intrinsic
def is_given(typingctx, pointer):
    """Whether `pointer` is not null."""

    def codegen(context, builder, signature, arguments):
        return builder.icmp_unsigned("!=", builder.ptrtoint(arguments[0], ir.IntType(64)), ir.IntType(64)(0))

    return types.boolean(pointer), codegen
