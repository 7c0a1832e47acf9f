# cython: language_level=3
"""Memory of arrays that are gone, for new arrays of about the same size.

A training step makes the same large arrays again and again. To the system's allocator each of them is news: it returns
the memory of the last step and gets fresh pages for the next, which take longer to clear and to map than to fill. NumPy
lets a program provide its own allocator (NEP 49); that of a `Pool` keeps what its arrays leave behind.
"""

from libc.stdint cimport uint8_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset, strcpy

cdef extern from *:
    """
    #define NPY_TARGET_VERSION NPY_1_22_API_VERSION
    #include <stdlib.h>
    #include <sys/mman.h>
    #ifndef MADV_HUGEPAGE
    #define MADV_HUGEPAGE 14
    #endif
    """
    void *aligned_alloc(size_t alignment, size_t size) nogil
    int madvise(void *start, size_t size, int advice) nogil
    enum: MADV_HUGEPAGE

cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New

cnp.import_array()

cdef extern from "numpy/arrayobject.h":
    ctypedef struct PyDataMemAllocator:
        void *ctx
        void *(*malloc)(void *ctx, size_t size) noexcept
        void *(*calloc)(void *ctx, size_t count, size_t size) noexcept
        void *(*realloc)(void *ctx, void *memory, size_t size) noexcept
        void (*free)(void *ctx, void *memory, size_t size) noexcept

    ctypedef struct PyDataMem_Handler:
        char name[127]
        uint8_t version
        PyDataMemAllocator allocator

    object PyDataMem_SetHandler(object handler)

cdef enum:
    LINE = 64         # arrays begin on cache lines, behind a line that describes them
    PAGE = 4096
    SMALL = 16384     # smaller arrays are left to the system's allocator
    HUGE = 4 << 20    # larger ones gain from huge pages, which NumPy's own allocator asks for, too
    MOST_KEPT = 512   # parts of memory, through which every new array may have to look

# What lies in front of an array.
cdef struct Header:
    size_t capacity
    Header *older

cdef struct Store:
    PyDataMem_Handler handler
    Header *kept    # what arrays left behind, the latest first
    int count
    size_t kept_bytes, used_bytes, most_bytes


cdef void *fresh(size_t capacity) noexcept:
    cdef Header *header = <Header *> aligned_alloc(LINE, LINE + capacity)
    cdef uintptr_t begin
    if header is NULL:
        return NULL
    header.capacity = capacity
    if capacity >= HUGE:
        begin = (<uintptr_t> header + PAGE - 1) // PAGE * PAGE
        madvise(<void *> begin, (<uintptr_t> header + LINE + capacity - begin) // PAGE * PAGE, MADV_HUGEPAGE)
    return header


cdef void *take(void *store, size_t size) noexcept:
    """Memory for `size` bytes: the part that fits best, if it is at most an eighth larger, or else new memory."""
    cdef Store *of = <Store *> store
    cdef Header **link = &of.kept
    cdef Header **best = NULL
    cdef Header *header
    cdef size_t capacity = (size + LINE - 1) // LINE * LINE
    if capacity < size:
        return NULL
    if capacity >= SMALL:
        while link[0] is not NULL:
            if capacity <= link[0].capacity <= capacity + capacity // 8:
                if best is NULL or link[0].capacity < best[0].capacity:
                    best = link
            link = &link[0].older
    if best is not NULL:
        header = best[0]
        best[0] = header.older
        of.count -= 1
        of.kept_bytes -= header.capacity
    else:
        header = <Header *> fresh(capacity)
        if header is NULL:
            return NULL
    of.used_bytes += header.capacity
    of.most_bytes = max(of.most_bytes, of.used_bytes)
    return <char *> header + LINE


cdef void *take_zeros(void *store, size_t count, size_t size) noexcept:
    cdef void *memory
    if size and count > <size_t> -1 // size:
        return NULL
    memory = take(store, count * size)
    if memory is not NULL:
        memset(memory, 0, count * size)
    return memory


cdef void leave(void *store, void *memory, size_t size) noexcept:
    """Keep what an array left behind, but no more than was in use at one time; the oldest goes first."""
    cdef Store *of = <Store *> store
    cdef Header *header
    if memory is NULL:
        return
    header = <Header *> (<char *> memory - LINE)
    of.used_bytes -= header.capacity
    if header.capacity < SMALL:
        free(header)
        return
    header.older = of.kept
    of.kept = header
    of.count += 1
    of.kept_bytes += header.capacity
    while of.kept_bytes + of.used_bytes > of.most_bytes or of.count > MOST_KEPT:
        drop_oldest(of)


cdef void drop_oldest(Store *of) noexcept:
    cdef Header **link = &of.kept
    cdef Header *header
    while link[0].older is not NULL:
        link = &link[0].older
    header = link[0]
    link[0] = NULL
    of.count -= 1
    of.kept_bytes -= header.capacity
    free(header)


cdef void *move(void *store, void *memory, size_t size) noexcept:
    cdef void *moved = take(store, size)
    if memory is not NULL and moved is not NULL:
        memcpy(moved, memory, min(size, (<Header *> (<char *> memory - LINE)).capacity))
        leave(store, memory, 0)
    return moved


cdef void destroy(object capsule) noexcept:
    """The last array of a pool is gone, and so is the pool."""
    cdef Store *of = <Store *> PyCapsule_GetPointer(capsule, "mem_handler")
    while of.kept is not NULL:
        drop_oldest(of)
    free(of)


cdef class Pool:
    """Within a ``with`` statement, arrays of NumPy take the memory of those that the same pool made before.

    Arrays may outlive the pool. It keeps no more than was in use at one time, together with what is in use now.

    Examples
    --------
    >>> import numpy as np
    >>> pool = Pool()
    >>> with pool:
    ...     first = np.empty(100_000).ctypes.data
    ...     second = np.empty(100_000).ctypes.data
    >>> first == second, pool.kept_bytes
    (True, 800000)
    """

    cdef object capsule
    cdef list outer

    def __cinit__(self):
        cdef Store *of = <Store *> malloc(sizeof(Store))
        if of is NULL:
            raise MemoryError
        memset(of, 0, sizeof(Store))
        strcpy(of.handler.name, "fastconv")
        of.handler.version = 1
        of.handler.allocator.ctx = of
        of.handler.allocator.malloc = take
        of.handler.allocator.calloc = take_zeros
        of.handler.allocator.realloc = move
        of.handler.allocator.free = leave
        self.capsule = PyCapsule_New(of, "mem_handler", destroy)
        self.outer = []

    def __enter__(self):
        self.outer.append(PyDataMem_SetHandler(self.capsule))
        return self

    def __exit__(self, *exception):
        PyDataMem_SetHandler(self.outer.pop())

    @property
    def kept_bytes(self):
        """Memory that no array uses now."""
        return (<Store *> PyCapsule_GetPointer(self.capsule, "mem_handler")).kept_bytes

    @property
    def most_bytes(self):
        """The most that arrays ever used at one time."""
        return (<Store *> PyCapsule_GetPointer(self.capsule, "mem_handler")).most_bytes

    def __reduce__(self):
        return Pool, ()
