"""Kernels: they know only arrays, pointers and integers, and import nothing else of fastconv.

The Cython modules are compiled with the package: `cpu` picks the instruction set, `slots` leads to the C micro-kernels
in simd/, and the others hold kernels of their own. `taps` and `pools` are compiled
by Numba when first called, using the vectors of `vector`. They are only reached through `jit`, since importing them
loads Numba. `cook_toom` makes Winograd's transforms. Every tile kernel has the signature documented in
`fastconv.threads` and is called by its address.
"""
