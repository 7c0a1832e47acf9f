# cython: language_level=3, boundscheck=False, wraparound=False
"""Repeated calls: the kernels of an earlier call are launched again, without the Python that chose them.

The second call of a kind is *recorded*: the kernels it launches, with all their integers, and the origin of each of
their arrays. From the third on, a call looks up the recording, makes the result, and launches the same kernels on its
own arrays. That takes less than a microsecond in addition to the kernels; checking arguments, looking up plans and
listing integers takes ten to a hundred.

Calls are of the same kind if their arrays agree in type, shape and strides, all other arguments in type and value, and
the number of threads is the same. A recording is kept if the function did nothing but launch kernels, which it states
by returning ``repeatable(result)``, and if every array that it passed to them is

- one of its arguments, or lies within one,
- its result, which is new or one of its arguments,
- scratch memory (`threads.aligned_empty`), of which pieces that are not needed at the same time share their bytes,
- flags (`threads.flags`): the recording is valid as long as they stay zero, or
- a constant, which is read-only (`constant`).

With ``FASTCONV_VERBOSE=1`` in the environment, every call of such a function prints a line: what computed it, in how
much scratch memory (with that of other threads' calls meanwhile), how long that took, and whether it was played.

The values of small arrays are part of the kind, except those of *operands*, which a function only passes to kernels.
A call that looks at the values of an operand must not return ``repeatable(result)``. Nor must a call that changes an
array other than by kernels. A function must return what it writes to.
"""

import os
import sys
import threading
from time import perf_counter

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport int64_t, intptr_t, uintptr_t
from libc.string cimport memcmp, memcpy, memset

import numpy as np

cimport numpy as cnp

from fastconv.kernels.lifetimes import Storage, offsets_in_block

from fastconv.kernels.threads cimport (
    CACHE_LINE,
    MAX_ARRAYS,
    MAX_SCALARS,
    Memory,
    Piece,
    Region,
    add_memory_bytes,
    available_threads,
    fill_region,
    memory_bytes_so_far,
    record,
    recorded,
    run,
    tile_kernel,
)

cnp.import_array()

cdef extern from "Python.h":
    int PyLong_CheckExact(object)
    int64_t PyLong_AsLongLongAndOverflow(object, int *overflow) except? -1

# Whether each call prints a line about itself; and, by thread, what the call under way has to say.
cdef bint verbose = os.environ.get("FASTCONV_VERBOSE", "0") not in ("", "0")
notes = threading.local()

cdef enum:
    MOST_WORDS = 1200
    MOST_OPERANDS = 16
    MOST_AXES = 16
    MOST_TEXT = 256
    MOST_CONTENTS = 2048
    MOST_RESULTS = 3
    MOST_LAUNCHES = 4096  # a deep network has a thousand
    SMALL_SCRATCH = 4096
    SPOILT = 0xA5

# In seconds. Calls that take longer gain nothing from recordings, and checking a recording would take as long again;
# unless a twentieth of the call is the Python of its launches, of which a batch of volumes has hundreds, or the
# function is one that is called over and over, as a network is.
cdef double LONG = 5e-3, OF_LAUNCH = 1e-5

# Calls that are recorded before a kind is given up: infinity in one of them says nothing about the next.
cdef int MOST_ATTEMPTS = 3

# Most kinds of calls per function; beyond that, the oldest is dropped.
cdef Py_ssize_t MOST_KINDS = 512

# Most bytes of constants in a function's recordings; beyond that, all are dropped. A call that needs a large part of
# them takes so long that its Python does not matter. Constants that belong to the object of a method do not count.
cdef Py_ssize_t MOST_HELD = 4 << 20, MOST_HELD_BY_ONE = 256 << 10

# What the words that follow in a key are.
cdef enum:
    NONE
    FALSE
    TRUE
    INT
    FLOAT
    TEXT
    TUPLE
    LIST
    ARRAY
    CONTENTS
    DTYPE
    NAMED

# The numbers of types that name a dtype, such as `float` and `np.uint8`.
cdef dict dtype_numbers = {
    kind: np.dtype(kind).num
    for kind in (bool, int, float, complex, *np.sctypeDict.values())
    if np.dtype(kind).kind in "biufc" and np.dtype(kind).num <= cnp.NPY_CLONGDOUBLE
}

cdef struct Kind:
    int64_t words[MOST_WORDS]
    int count
    PyObject *operands[MOST_OPERANDS]  # the arrays whose values are not part of it
    int operand_count
    PyObject *contents[MOST_OPERANDS]  # those whose values are
    int contents_count


cdef inline bint add(Kind *kind, int64_t word) noexcept:
    if kind.count == MOST_WORDS:
        return False
    kind.words[kind.count] = word
    kind.count += 1
    return True


cdef bint add_bytes(Kind *kind, const char *start, Py_ssize_t size) noexcept:
    cdef Py_ssize_t words = (size + 7) // 8
    if not add(kind, size) or words > MOST_WORDS - kind.count:
        return False
    if words:
        kind.words[kind.count + words - 1] = 0
    memcpy(&kind.words[kind.count], start, size)
    kind.count += words
    return True


cdef bint add_text(Kind *kind, str text) except? False:
    cdef Py_ssize_t size
    cdef const char *start = PyUnicode_AsUTF8AndSize(text, &size)
    return size <= MOST_TEXT and add_bytes(kind, start, size)


cdef bint add_array(Kind *kind, cnp.ndarray array, bint contents) except? False:
    """Of a native type of numbers, aligned, and not empty: kernels read no others as they are."""
    cdef cnp.ndarray values
    cdef int number = cnp.PyArray_TYPE(array), ndim = cnp.PyArray_NDIM(array), axis
    if (
        number > cnp.NPY_CLONGDOUBLE
        or ndim > MOST_AXES
        or cnp.PyArray_SIZE(array) == 0
        or not cnp.PyArray_ISALIGNED(array)
        or array.descr is not cnp.PyArray_DescrFromType(number)
    ):
        return False
    if not add(kind, CONTENTS if contents else ARRAY):
        return False
    if not add(kind, number + (ndim << 8) + (<int> cnp.PyArray_ISWRITEABLE(array) << 16)):
        return False
    for axis in range(ndim):
        if not add(kind, cnp.PyArray_DIM(array, axis)) or not add(kind, cnp.PyArray_STRIDE(array, axis)):
            return False
    if contents:
        if kind.contents_count == MOST_OPERANDS:
            return False
        kind.contents[kind.contents_count] = <PyObject *> array
        kind.contents_count += 1
        if cnp.PyArray_NBYTES(array) > MOST_CONTENTS:
            return False
        values = cnp.PyArray_GETCONTIGUOUS(array)  # a flipped kernel is a view
        return add_bytes(kind, cnp.PyArray_BYTES(values), cnp.PyArray_NBYTES(values))
    if kind.operand_count == MOST_OPERANDS:
        return False
    kind.operands[kind.operand_count] = <PyObject *> array
    kind.operand_count += 1
    return True


cdef bint add_value(Kind *kind, value, bint contents, bint nested=False) except? False:
    """Whether a key can tell `value` from all others. Arrays in lists do not count, as lists may change meanwhile."""
    cdef int overflow = 0
    cdef int64_t word
    cdef double number
    if type(value) is cnp.ndarray:
        return (contents or not nested) and add_array(kind, value, contents)
    if value is None:
        return add(kind, NONE)
    if value is False:
        return add(kind, FALSE)
    if value is True:
        return add(kind, TRUE)
    if PyLong_CheckExact(value):
        word = PyLong_AsLongLongAndOverflow(value, &overflow)
        return not overflow and add(kind, INT) and add(kind, word)
    if type(value) is str:
        return add(kind, TEXT) and add_text(kind, value)
    if type(value) is float:
        number = value
        memcpy(&word, &number, sizeof(word))
        return add(kind, FLOAT) and add(kind, word)
    if isinstance(value, type):
        number_of_type = dtype_numbers.get(value)
        return number_of_type is not None and add(kind, DTYPE) and add(kind, number_of_type)
    if isinstance(value, np.dtype):
        word = (<cnp.dtype> value).type_num
        is_plain = word <= cnp.NPY_CLONGDOUBLE and value is cnp.PyArray_DescrFromType(word)
        return is_plain and add(kind, DTYPE) and add(kind, word)
    if type(value) is tuple or type(value) is list:
        if not add(kind, TUPLE if type(value) is tuple else LIST) or not add(kind, len(value)):
            return False
        for item in value:
            if not add_value(kind, item, contents, True):
                return False
        return True
    return False


cdef struct Bounds:
    uintptr_t low   # the first byte
    uintptr_t high  # past the last


cdef Bounds bounds_of(cnp.ndarray array) noexcept:
    cdef Bounds bounds
    cdef int axis
    cdef cnp.npy_intp reach
    bounds.low = bounds.high = <uintptr_t> cnp.PyArray_BYTES(array)
    for axis in range(cnp.PyArray_NDIM(array)):
        reach = (cnp.PyArray_DIM(array, axis) - 1) * cnp.PyArray_STRIDE(array, axis)
        if reach < 0:
            bounds.low += reach
        else:
            bounds.high += reach
    bounds.high += cnp.PyArray_ITEMSIZE(array)
    return bounds


cdef bint overlap(cnp.ndarray one, cnp.ndarray other) noexcept:
    cdef Bounds first = bounds_of(one), second = bounds_of(other)
    return first.low < second.high and second.low < first.high


cdef bint are_apart(Kind *kind) noexcept:
    """Whether no two operands share memory."""
    cdef int i, j
    for i in range(kind.operand_count):
        for j in range(i):
            if overlap(<cnp.ndarray> kind.operands[i], <cnp.ndarray> kind.operands[j]):
                return False
    return True


cdef struct Binding:
    int at          # in the arrays of a kernel
    int base        # an operand, a result or the scratch memory, counted in this order
    int64_t offset  # bytes from where that begins


cdef class Launch:
    """A kernel with all its arguments but the addresses that differ between calls."""

    cdef tile_kernel *kernel
    cdef bytes ints
    cdef double scalars[MAX_SCALARS]
    cdef void *arrays[MAX_ARRAYS]           # those that do not differ
    cdef Binding bindings[MAX_ARRAYS]       # those that do
    cdef int binding_count
    cdef int64_t tiles, grain, threads

    cdef take(self, const Region *region, Py_ssize_t ints, int64_t threads):
        """Remember a region of so many integers."""
        self.kernel, self.tiles, self.grain, self.threads = region.kernel, region.tiles, region.grain, threads
        self.ints = PyBytes_FromStringAndSize(<const char *> region.ints, ints * sizeof(int64_t))
        memcpy(self.arrays, region.arrays, sizeof(self.arrays))
        memcpy(self.scalars, region.scalars, sizeof(self.scalars))

    cdef launch(self, char **bases):
        """Launch it on arrays that begin at `bases`."""
        cdef Region region
        cdef int i
        region.kernel, region.tiles, region.grain = self.kernel, self.tiles, self.grain
        memcpy(region.ints, <const char *> self.ints, len(self.ints))
        memcpy(region.arrays, self.arrays, sizeof(self.arrays))
        memcpy(region.scalars, self.scalars, sizeof(self.scalars))
        for i in range(self.binding_count):
            region.arrays[self.bindings[i].at] = bases[self.bindings[i].base] + self.bindings[i].offset
        run(&region, self.threads)


cdef class Result:
    """A new array, or the operand that a call writes to."""

    cdef int operand  # -1: it is new
    cdef int number, ndim
    cdef bint channels_last
    cdef cnp.npy_intp shape[MOST_AXES]  # as it is in memory

    def __cinit__(self, cnp.ndarray array, list operands):
        cdef int axis
        self.operand = next((at for at, operand in enumerate(operands) if array is operand), -1)
        self.number, self.ndim = cnp.PyArray_TYPE(array), cnp.PyArray_NDIM(array)
        self.channels_last = not cnp.PyArray_IS_C_CONTIGUOUS(array) and has_channels_last(array)
        if self.channels_last:
            array = np.moveaxis(array, 1, -1)
        for axis in range(self.ndim):
            self.shape[axis] = cnp.PyArray_DIM(array, axis)

    cdef cnp.ndarray new(self):
        """An array like it."""
        cdef cnp.npy_intp order[4]
        cdef cnp.PyArray_Dims axes
        cdef cnp.ndarray array = cnp.PyArray_EMPTY(self.ndim, self.shape, self.number, 0)
        if not self.channels_last:
            return array
        order[0], order[1], order[2], order[3] = 0, 3, 1, 2
        axes.ptr, axes.len = order, 4
        return cnp.PyArray_Transpose(array, &axes)


cdef class Recording:
    """What calls of one kind launch."""

    cdef list launches, results
    cdef bint is_tuple, writes_operands
    cdef cnp.npy_intp scratch_bytes, flag_bytes  # the flags come first
    cdef list constants                          # kept alive
    cdef Py_ssize_t held                         # their bytes
    cdef list notes                              # those of the call, if calls are reported

    cdef play(self, Kind *kind, bint spoiled=False):
        """The result of another call; ``None`` if it has to be called after all.

        That is where what it writes to overlaps what it reads, or where a flag was set. Memory that is new may hold
        what it is to hold in the end, from an earlier call, unless it is `spoiled` first.
        """
        cdef char *bases[MOST_OPERANDS + MOST_RESULTS + 1]
        # Little scratch memory is on the stack: an object for it took as long as the products of a head.
        cdef char small[SMALL_SCRATCH + CACHE_LINE]
        cdef Launch launch
        cdef Result result
        cdef Memory memory
        cdef int i, base = kind.operand_count
        cdef list made = []
        if self.writes_operands and not are_apart(kind):
            return None
        for i in range(kind.operand_count):
            bases[i] = cnp.PyArray_BYTES(<cnp.ndarray> kind.operands[i])
        for result in self.results:
            if result.operand < 0:
                array = result.new()
                if spoiled:
                    memset(cnp.PyArray_BYTES(array), SPOILT, cnp.PyArray_NBYTES(array))
            else:
                array = <cnp.ndarray> kind.operands[result.operand]
            bases[base] = cnp.PyArray_BYTES(array)
            made.append(array)
            base += 1
        if self.scratch_bytes <= SMALL_SCRATCH:
            bases[base] = small + (-<intptr_t> small & (CACHE_LINE - 1))
            add_memory_bytes(self.scratch_bytes)
        else:
            memory = Memory(self.scratch_bytes)
            bases[base] = memory.start
        if spoiled:
            memset(bases[base], SPOILT, self.scratch_bytes)
        memset(bases[base], 0, self.flag_bytes)
        for launch in self.launches:
            launch.launch(bases)
        if any_set(bases[base], self.flag_bytes):
            return None
        return tuple(made) if self.is_tuple else made[0]

    cdef share_scratch(self, dict storages, set flags, int base):
        """Find room for pieces of scratch memory, flags first. Bindings have counted each as a base of its own."""
        cdef Launch launch
        cdef Binding *binding
        cdef int at
        cdef dict offsets = {}
        for number in flags:
            offsets[number] = self.flag_bytes
            self.flag_bytes += rounded_up(storages.pop(number).nbytes)
        shared, size = offsets_in_block(storages)
        offsets.update({number: self.flag_bytes + offset for number, offset in shared.items()})
        self.scratch_bytes = self.flag_bytes + size
        for launch in self.launches:
            for at in range(launch.binding_count):
                binding = &launch.bindings[at]
                if binding.base >= base:
                    binding.offset += offsets[binding.base - base]
                    binding.base = base

    cdef bint gives(self, result, Kind *kind) except? False:
        """Whether it computes `result` anew, as it must unless the function did more than it said."""
        cdef cnp.ndarray one, other
        if self.writes_operands:
            return True
        again = self.play(kind, spoiled=True)
        if again is None:
            return False
        for one, other in zip(result if self.is_tuple else (result,), again if self.is_tuple else (again,)):
            if memcmp(cnp.PyArray_BYTES(one), cnp.PyArray_BYTES(other), cnp.PyArray_NBYTES(one)) != 0:
                return False
        return True


cdef cnp.npy_intp rounded_up(cnp.npy_intp size) noexcept:
    return size + (-size & (CACHE_LINE - 1))


cdef bint any_set(const char *flags, Py_ssize_t size) noexcept:
    cdef Py_ssize_t at
    for at in range(size):
        if flags[at]:
            return True
    return False


cdef Recording recording_of(Kind *kind, list launched, result):
    """A call's launches, with every address found in its arrays; ``None`` if one is not of those it may be of."""
    cdef Recording recording = Recording()
    cdef list operands = [<object> kind.operands[i] for i in range(kind.operand_count)]
    cdef list made = list(result) if type(result) is tuple else [result]
    cdef list contents = [<object> kind.contents[i] for i in range(kind.contents_count)]
    cdef dict numbers = {}, storages = {}  # of pieces of scratch memory
    cdef list flags = []
    cdef Launch launch
    cdef Binding *binding
    cdef Binding ignored
    cdef Region region
    cdef int at, step
    if len(launched) > MOST_LAUNCHES or len(made) > MOST_RESULTS or not are_apart(kind):
        return None
    recording.launches, recording.results, recording.constants = [], [], []
    recording.is_tuple = type(result) is tuple
    for array in made:
        if not may_be_result(array, operands):
            return None
        recording.results.append(Result(array, operands))
        recording.writes_operands |= (<Result> recording.results[len(recording.results) - 1]).operand >= 0
    for step, (kernel, arrays, ints, scalars, tiles, threads, grain) in enumerate(launched):
        addresses = tuple([None if isinstance(array, Piece) else array for array in arrays])
        fill_region(&region, kernel, addresses, ints, scalars, tiles, grain)
        launch = Launch()
        launch.take(&region, len(ints), threads)
        for at, array in enumerate(arrays):
            binding = &launch.bindings[launch.binding_count]
            binding.at = at
            if isinstance(array, Piece):
                binding.base = len(operands) + len(made) + numbers.setdefault(array.number, len(numbers))
                binding.offset = array.offset
                launch.binding_count += 1
                if array.are_flags:
                    storages[numbers[array.number]] = Storage(array.size, 0, len(launched))
                    flags.append(numbers[array.number])
                else:
                    storages.setdefault(numbers[array.number], Storage(array.size, step, step)).last = step
            elif isinstance(array, cnp.ndarray):  # all others are functions of this process
                if find(array, operands + made, binding):
                    launch.binding_count += 1
                elif cnp.PyArray_ISWRITEABLE(array) or find(array, contents, &ignored):
                    return None
                else:
                    recording.constants.append(array)
                    recording.held += cnp.PyArray_NBYTES(array)
        recording.launches.append(launch)
    recording.share_scratch(storages, set(flags), len(operands) + len(made))
    if recording.flag_bytes and recording.writes_operands and kind.operand_count == 1:
        return None  # what it reads is gone when a flag is set
    return recording


cdef bint has_channels_last(cnp.ndarray array) noexcept:
    """Whether its memory holds batches of images (N, C, H, W) without gaps in the order (N, H, W, C)."""
    cdef cnp.npy_intp apart = cnp.PyArray_ITEMSIZE(array)
    cdef int axis
    if cnp.PyArray_NDIM(array) != 4:
        return False
    for axis in (1, 3, 2, 0):
        if cnp.PyArray_DIM(array, axis) != 1 and cnp.PyArray_STRIDE(array, axis) != apart:
            return False
        apart *= cnp.PyArray_DIM(array, axis)
    return True


cdef bint may_be_result(array, list operands):
    """Whether a call can make `array` anew, or is to write to it."""
    if any(array is operand for operand in operands):
        return True
    return (
        type(array) is cnp.ndarray
        and (cnp.PyArray_IS_C_CONTIGUOUS(array) or has_channels_last(array))
        and cnp.PyArray_SIZE(array) > 0
        and cnp.PyArray_NDIM(array) <= MOST_AXES
        and not any(overlap(array, operand) for operand in operands)
    )


cdef bint find(cnp.ndarray array, list arrays, Binding *binding):
    """Whether `array` begins within one of `arrays`."""
    cdef uintptr_t start = <uintptr_t> cnp.PyArray_BYTES(array)
    cdef Bounds bounds
    for at, other in enumerate(arrays):
        bounds = bounds_of(other)
        if bounds.low <= start < bounds.high:
            binding.base = at
            binding.offset = <int64_t> (start - <uintptr_t> cnp.PyArray_BYTES(other))
            return True
    return False


cdef bint holds(bytes key, const char *words, Py_ssize_t size) noexcept:
    return len(key) == size and memcmp(<const char *> key, words, size) == 0


cdef class Repeated:
    """The calls of one function, of which those that repeat others are played from recordings."""

    cdef object function
    cdef tuple names                  # of its arguments
    cdef readonly frozenset operands  # those whose arrays kernels alone read; all other values belong to the kind
    cdef Py_ssize_t first             # of these that tell calls apart: a method is one object's
    cdef Py_ssize_t held              # bytes of constants
    cdef double longest               # seconds of a call that is recorded
    cdef dict kinds                   # recordings, or how many calls without one there have been
    cdef tuple latest                 # the key of the last one played, and its recording

    def __init__(self, function, tuple names, operands, is_method=False, double longest=LONG):
        self.function = function
        self.longest = longest
        self.names = names
        self.operands = frozenset(operands)
        self.first = 1 if is_method else 0
        self.kinds = {}

    def call(self, tuple args, dict kwargs):
        return self.reported(args, kwargs) if verbose else self.played_or_called(args, kwargs)

    cdef reported(self, tuple args, dict kwargs):
        """A call, and a line about it."""
        outer, notes.list = getattr(notes, "list", None), []
        before, begun = memory_bytes_so_far(), perf_counter()
        try:
            result = self.played_or_called(args, kwargs)
            seconds, facts = perf_counter() - begun, notes.list
        finally:
            notes.list = outer
        if outer is None:  # not called by another function
            name = self.function.__qualname__.split(".")[0]
            given = [f"{value.shape}, {value.dtype}" for value in args if isinstance(value, cnp.ndarray)]
            facts = "; ".join(facts or given)
            scratch = memory_bytes_so_far() - before
            print(f"fastconv: {name}: {facts}; {scratch} bytes of scratch; {seconds * 1e6:.1f} µs", file=sys.stderr)
        else:
            outer += facts
        return result

    cdef played_or_called(self, tuple args, dict kwargs):
        cdef Kind kind
        cdef Py_ssize_t size
        cdef tuple latest
        cdef Recording recording = None
        cdef list launched = recorded()
        if launched is not None:  # by a function that calls this one
            result = self.function(*args, **kwargs)
            launched[0] = None
            return result
        if not self.describe(args, kwargs, &kind):
            return self.function(*args, **kwargs)
        size = kind.count * sizeof(int64_t)
        latest = self.latest
        if latest is not None and holds(<bytes> latest[0], <const char *> kind.words, size):
            known = latest[1]  # comparing keys is quicker than looking one up
        else:
            key = PyBytes_FromStringAndSize(<char *> kind.words, size)
            known = self.kinds.get(key, 0)
        if type(known) is Recording:
            recording = known
            if latest is None or latest[1] is not known:
                self.latest = key, known
            result = recording.play(&kind)
            if result is None:
                return self.function(*args, **kwargs)
            if verbose:
                notes.list += [*(recording.notes or ()), "played"]
            return result
        if known > MOST_ATTEMPTS:
            return self.function(*args, **kwargs)
        if known == 0:
            if len(self.kinds) >= MOST_KINDS:
                self.kinds.pop(next(iter(self.kinds)), None)
                self.latest = None
            self.kinds[key] = 1
            return self.function(*args, **kwargs)
        launched = [None]
        begun = perf_counter()
        record(launched)
        try:
            result = self.function(*args, **kwargs)
            is_complete = recorded() is launched and launched[0] is result and len(launched) > 1
        finally:
            record(None)
        is_short = perf_counter() - begun <= max(self.longest, 20 * OF_LAUNCH * (len(launched) - 1))
        if is_complete and is_short:
            recording = recording_of(&kind, launched[1:], result)
        if recording is None or not recording.gives(result, &kind) or not self.affords(recording):
            self.kinds[key] = <int> known + 1
            return result
        if verbose:
            recording.notes = list(notes.list)
        self.kinds[key] = recording
        return result

    cdef bint affords(self, Recording recording) noexcept:
        """Whether it may keep the constants of `recording`; it forgets others for them."""
        if self.first:
            return True
        if recording.held > MOST_HELD_BY_ONE:
            return False
        self.held += recording.held
        if self.held > MOST_HELD:
            self.kinds.clear()
            self.latest = None
            self.held = recording.held
        return True

    @property
    def recordings(self):
        """How many kinds of calls are played."""
        return sum(type(known) is Recording for known in self.kinds.values())

    cdef bint describe(self, tuple args, dict kwargs, Kind *kind) except? False:
        """Whether the arguments are all of types that a key can tell apart."""
        cdef Py_ssize_t at
        kind.count = kind.operand_count = kind.contents_count = 0
        add(kind, available_threads())
        for at in range(self.first, len(args)):
            value = args[at]
            if not add_value(kind, value, at >= len(self.names) or self.names[at] not in self.operands):
                return False
        for name, value in kwargs.items():
            if not add(kind, NAMED) or not add_text(kind, name):
                return False
            if not add_value(kind, value, name not in self.operands):
                return False
        return True


def repeatable(result):
    """`result` of a call that did nothing but launch kernels, and looked at no values."""
    cdef list launched = recorded()
    if launched is not None:
        launched[0] = result
    return result


def note(*facts, threads):
    """Have the line about the call under way, if there is to be one, say what computes it, and on how many threads."""
    if verbose and getattr(notes, "list", None) is not None:
        notes.list.append(f"{''.join(map(str, facts))} on {threads} thread{'' if threads == 1 else 's'}")


def unrepeatable():
    """Said by what looks at values, or does more than launch kernels: the call under way will not be recorded."""
    record(None)


def constant(cnp.ndarray array):
    """`array`, which is not written to any more, and depends on nothing but the kind of a call."""
    array.setflags(write=False)
    return array
