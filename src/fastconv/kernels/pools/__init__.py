"""Pooling of planes: kernels that fold the values under a window, by maximum or by sum.

Equation, for one plane x and a fold (the largest value, or the sum) over taps i, j::

    out[r, q] = fold_i fold_j x[r * sh - pt + i * dh, q * sw - pl + j * dw]        (a mean divides this by its count)

``direct``    folds vectors of neighbouring outputs tap by tap; ``blocks`` writes its instructions
``doubling``  is for large windows, whose folds are found from those of half their extent
``folding``   folds a window lane by lane, where windows stand in one column
``places``    finds where maxima stand, too
``adaptive``  sums rows, and then columns, for means of windows that are not all alike
``walking``   takes one window after the other: maxima of such windows, and what the others cannot do
``planes``    what they are told; ``shared`` what else they have in common

Taps outside the image are left out: neutral values, which change nothing, stand for them where vectors cross an edge.
"""
