"""Pooling of planes: kernels that fold the values under a window, by maximum or by sum.

Equation, for one plane x and a fold (the largest value, or the sum) over taps i, j::

    out[r, q] = fold_i fold_j x[r * sh - pt + i * dh, q * sw - pl + j * dw]        (a mean divides this by its count)

``direct``    folds vectors of neighbouring outputs tap by tap; ``blocks`` writes its instructions
``doubling``  is for large windows: their folds are computed from folds of half the extent
``folding``   folds a window lane by lane, where the output is a single column
``places``    also finds the positions of extremes; ``placing`` writes its instructions
``adaptive``  sums rows, then columns, for means of windows that differ in extent
``walking``   goes from window to window: extremes of such windows, and anything the others cannot do
``folds``     the folds, as values that a kernel takes as a constant
``planes``    the integer arguments of these kernels; ``shared`` functions they have in common

Taps outside the image do not count: where vectors cross an edge, neutral values stand in for them.
"""
