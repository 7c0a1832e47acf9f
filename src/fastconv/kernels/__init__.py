"""Kernels: they know arrays, pointers and integers, and import nothing else of fastconv.

`cpu`, `epilogue` and `lowering` are compiled with the package; `jit`, `direct` and `pooling` are generated
by Numba when first called. `blas` borrows SciPy's matrix product. Every tile kernel has the one signature
that `fastconv.threads` documents, and is reached by its address.
"""
