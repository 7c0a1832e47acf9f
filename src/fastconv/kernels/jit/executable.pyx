# cython: language_level=3
"""Loading machine code: from bytes to an address.

An *image* (kernels/jit/image.py) is position-independent machine code. It begins with a header of four words: the
offset of its function, and places for the addresses of those functions of the C library that LLVM calls on its own
account.
"""

from libc.stddef cimport size_t
from libc.stdint cimport intptr_t, uintptr_t
from libc.string cimport memcpy, memmove, memset

cdef extern from "sys/mman.h" nogil:
    int PROT_READ, PROT_WRITE, PROT_EXEC, MAP_PRIVATE, MAP_ANONYMOUS
    void *MAP_FAILED
    void *mmap(void *address, size_t length, int protection, int flags, int fd, intptr_t offset)
    int mprotect(void *address, size_t length, int protection)
    int munmap(void *address, size_t length)

cdef extern from *:
    void __builtin___clear_cache(char *begin, char *end) nogil

cdef struct Header:
    intptr_t start
    void *memset
    void *memcpy
    void *memmove


def load(const unsigned char[::1] image not None):
    """The address of the function in `image`. The code is copied, and stays until the process ends."""
    cdef Header header
    cdef size_t size = image.shape[0]
    cdef char *code
    if size <= sizeof(Header):
        raise ValueError(f"image of {size} bytes: expected more than its header")
    memcpy(&header, &image[0], sizeof(Header))
    if not <intptr_t> sizeof(Header) <= header.start < <intptr_t> size:
        raise ValueError(f"image that starts at {header.start}: expected an offset into its {size} bytes")
    header.memset, header.memcpy, header.memmove = <void *> memset, <void *> memcpy, <void *> memmove
    # Never writable and executable at once: hardened systems forbid it.
    code = <char *> mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    if code == MAP_FAILED:
        raise MemoryError(f"no memory for {size} bytes of machine code")
    memcpy(code, &image[0], size)
    memcpy(code, &header, sizeof(Header))
    if mprotect(code, size, PROT_READ | PROT_EXEC) != 0:
        munmap(code, size)
        raise MemoryError(f"the system does not allow {size} bytes of memory to be executed")
    __builtin___clear_cache(code, code + size)
    return <intptr_t> <uintptr_t> code + header.start
