"""Kernels that Numba compiles when they are first needed, and the way from a Python loop to an address.

`lookup` finds a kernel by name; only what it loads imports Numba. `image` and `executable` make position-independent
code of a loop, and an address of that; `store` keeps the code on disk. The loops are in `pools` and `taps`, on the
vectors of `vector`.
"""
