"""Kernels: they know only arrays, pointers and integers, and import nothing else of fastconv.

The Cython modules are compiled with the package: `cpu` picks the instruction set, `slots` leads to the C micro-kernels
in simd/, and the others hold kernels of their own. Those of `jit` are compiled by Numba when first called. `cook_toom`
makes Winograd's transforms. `threads` runs them all: every tile kernel has the signature documented there, and is
called by its address.
"""
