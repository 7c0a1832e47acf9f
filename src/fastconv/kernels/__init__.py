"""Kernels: they know arrays, pointers and integers, and import nothing else of fastconv.

`cpu`, `epilogue`, `lowering`, `gemm` and `winograd` are compiled with the package; `direct` and `pooling` are generated
by Numba, through `jit`, when first called. `blas` borrows SciPy's matrix product; `cook_toom` makes Winograd's
transforms. Every tile kernel has the one signature that `fastconv.threads` documents, and is reached by its address.
"""
