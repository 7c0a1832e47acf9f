"""fastconv beside the libraries that its users would otherwise call.

``layers``        named descriptors of what is computed; ``networks`` the convolutions of networks that people deploy
``problems``      a descriptor, an operation and a type, with arrays and how far two results may differ
``libraries``     the protocol of a library, and fastconv as one
``peers``         the optional peers, each behind one small adapter
``isolated``      a library in a process of its own
``side_by_side``  the tables; ``accuracy`` the errors; ``census`` a sample of the layers of networks
``calls``         what small calls cost; ``breadth`` every function that shares its name with torch's or SciPy's
``scaling``       the speed-up that tiling allows, and the measured one
``kernels``       the compiled kernels one by one; ``profiling`` where the time of one layer goes
``test_*``        pytest-benchmark suites
"""
