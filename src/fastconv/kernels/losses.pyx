"""The cross entropy, from the softmax kernel's peak and logarithm of each sample."""

from collections import namedtuple

from libc.stdint cimport int64_t, intptr_t

from fastconv.kernels.cpu cimport stops

from fastconv.kernels.slots import Slot

ctypedef fused real:
    float
    double

cdef struct Losses:
    int64_t classes
    int64_t inner    # extent of the axes after that of the classes
    int64_t samples
    int64_t ignored  # the class that counts nothing
    int64_t each     # whether each loss is wanted,
    int64_t mean     # or their mean: otherwise their sum

# As a named tuple: a struct becomes a dictionary of its fields, in their order.
cdef Losses no_losses

cdef enum:
    BLOCK = 128     # losses per block; block sums are added up in turn
    STRETCH = 4096  # samples between two checks whether to stop, in whole blocks


cdef void sum_losses(const real *x, const real *peak, const real *logarithm, const int64_t *target,
                     const double *weight, const double *spread, real *out, int64_t *flag, const int64_t *ints,
                     double kept, void **arrays, int64_t worker) noexcept nogil:
    cdef const Losses *of = <const Losses *> ints
    cdef int64_t classes = of.classes, inner = of.inner, samples = of.samples, ignored = of.ignored, i, own
    cdef int64_t column = -1, row = 0  # a division per sample would take longer than all else
    cdef bint each = of.each, mean = of.mean
    cdef int64_t number, first
    cdef double counts, loss, block, total = 0, count = 0
    for number in range((samples + BLOCK - 1) // BLOCK):
        first = number * BLOCK
        if first % STRETCH == 0 and stops(arrays, worker):
            return
        block = 0
        for i in range(first, min(first + BLOCK, samples)):
            column += 1
            if column == inner:
                column = 0
                row += classes * inner
            loss = counts = 0
            if target is NULL:
                counts, loss = 1, spread[i]
            elif target[i] != ignored:
                own = target[i]
                if own < 0 or own >= classes:
                    flag[0] = 1
                    return
                counts = weight[own] if weight is not NULL else 1
                if kept * counts != 0:
                    loss = <double> peak[i] - x[row + own * inner + column] + logarithm[i]
                    loss *= kept * counts
                if spread is not NULL:
                    loss += spread[i]
            if each:
                out[i] = <real> loss
            count += counts
            block += loss
        total += block
    if not each:
        out[0] = <real> (total / count if mean else total)


cdef void losses_f32(void **arrays, const int64_t *ints, const double *scalars,
                     int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    sum_losses(<const float *> arrays[0], <const float *> arrays[1], <const float *> arrays[2],
               <const int64_t *> arrays[3], <const double *> arrays[4], <const double *> arrays[5],
               <float *> arrays[6], <int64_t *> arrays[7], ints, scalars[0], arrays, worker)


cdef void losses_f64(void **arrays, const int64_t *ints, const double *scalars,
                     int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    sum_losses(<const double *> arrays[0], <const double *> arrays[1], <const double *> arrays[2],
               <const int64_t *> arrays[3], <const double *> arrays[4], <const double *> arrays[5],
               <double *> arrays[6], <int64_t *> arrays[7], ints, scalars[0], arrays, worker)


KERNELS = {
    # One tile. `arrays`: scores (n, classes, inner); the largest score of each sample, and the logarithm of the sum of
    # the powers of its scores less that; the samples' classes (int64), or null if targets are probabilities; weights
    # of the classes (float64) or null; what the kernel "spread" finds or null; a loss for each sample, or their sum or
    # mean; a flag, which is set if a sample's class does not exist. `scalars`: the share of a sample's class.
    "losses": Slot(namedtuple("Losses", no_losses), {"f4": <intptr_t> &losses_f32, "f8": <intptr_t> &losses_f64}),
}
