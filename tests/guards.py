"""Memory that faults, or is found damaged, when a kernel reaches past an array.

NumPy lets a program provide its own allocator (NEP 49). This one gives every array its own pages, between two guard
pages that can be neither read nor written. The array ends where the second guard begins, or begins where the first one
ends. The rest of its pages is filled with a pattern that must be intact when the array is freed. The array's own bytes
start out as the pattern, too: all ones, which is NaN.
"""

import atexit
import contextlib
import ctypes
import mmap

import numpy as np

from fastconv.kernels import threads

PAGE = mmap.PAGESIZE
PATTERN = 0xFF

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

_MAP_FAILED = ctypes.c_void_p(-1).value
_MALLOC = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_CALLOC = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t)
_REALLOC = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_FREE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class _Handler(ctypes.Structure):
    """NumPy's PyDataMem_Handler."""

    _fields_ = (
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("context", ctypes.c_void_p),
        ("malloc", _MALLOC),
        ("calloc", _CALLOC),
        ("realloc", _REALLOC),
        ("free", _FREE),
    )


def _set_handler():
    """NumPy's PyDataMem_SetHandler, from the table of its C API."""
    of_capsule = ctypes.pythonapi.PyCapsule_GetPointer
    of_capsule.restype, of_capsule.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = ctypes.cast(of_capsule(np._core._multiarray_umath._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p))
    return ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(table[304])


class Guards:
    """An allocator of guarded memory; each array is adjacent to the guard at its `side`, "begin" or "end"."""

    def __init__(self, side):
        self.side = side
        self.alignment = 1
        self.taken = {}  # address: (its pages, their bytes, the bytes asked for)
        self.damaged = False
        methods = _MALLOC(self._malloc), _CALLOC(self._calloc), _REALLOC(self._realloc), _FREE(self._free)
        self._handler = _Handler(b"guards", 1, None, *methods)
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        self.capsule = new(ctypes.byref(self._handler), b"mem_handler", None)
        atexit.register(self._leave)

    def _leave(self):
        """Replace `_free` by a C function: arrays in caches outlive the interpreter, which cannot run Python then."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._handler))
        self._handler.free = ctypes.cast(_libc.getpid, _FREE)

    def _malloc(self, _, size, fill=PATTERN):
        held = -(-max(size, 1) // PAGE) * PAGE
        mapped = _libc.mmap(None, held + 2 * PAGE, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
        if mapped == _MAP_FAILED:
            return None
        pages = mapped + PAGE
        _libc.mprotect(pages, held, mmap.PROT_READ | mmap.PROT_WRITE)
        ctypes.memset(pages, PATTERN, held)
        address = pages + ((held - size) // self.alignment * self.alignment if self.side == "end" else 0)
        ctypes.memset(address, fill, size)
        self.taken[address] = pages, held, size
        return address

    def _calloc(self, _, count, size):
        return self._malloc(None, count * size, fill=0)

    def _realloc(self, _, address, size):
        moved = self._malloc(None, size)
        if address is not None and moved is not None:
            ctypes.memmove(moved, address, min(size, self.taken[address][2]))
            self._free(None, address, 0)
        return moved

    def _free(self, _, address, __):
        if address is None:  # allowed in C
            return
        self.damaged |= self._is_damaged(address)
        pages, held, _ = self.taken.pop(address)
        _libc.munmap(pages - PAGE, held + 2 * PAGE)

    def _is_damaged(self, address):
        """Whether the pattern around the array at `address` has changed."""
        pages, held, size = self.taken[address]
        end = address + size
        around = ctypes.string_at(pages, address - pages) + ctypes.string_at(end, pages + held - end)
        return around.strip(bytes([PATTERN])) != b""

    def check(self):
        """Raise if anything was written beside an array since the last check."""
        damaged = self.damaged or any(map(self._is_damaged, self.taken))
        self.damaged = False
        assert not damaged, "written beside an array"


_HANDLERS = {side: Guards(side) for side in ("begin", "end")}  # kept, since arrays of theirs may outlive a block


@contextlib.contextmanager
def guarded(side):
    """Place every array made in this block, scratch memory included, between guards."""
    handler = _HANDLERS[side]
    set_handler, aligned_empty = _set_handler(), threads.aligned_empty

    def scratch(count, dtype):
        """Exactly as large as requested, while the original has some to spare."""
        handler.alignment = 64
        try:
            return np.empty(count, dtype)
        finally:
            handler.alignment = 1

    before = set_handler(handler.capsule)
    threads.aligned_empty = scratch
    try:
        yield
    finally:
        threads.aligned_empty = aligned_empty
        set_handler(before)
    handler.check()
