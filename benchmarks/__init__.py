"""fastconv beside the libraries that its users would otherwise call.

``layers``        what is computed: named descriptors
``problems``      a descriptor, an operation and a type: arrays, and how far two results may differ
``libraries``     who computes it: fastconv, as the peers see it
``peers``         the optional peers, each behind one small adapter
``isolated``      any of them in a process of its own
``side_by_side``  the table
``test_*``        pytest-benchmark suites
"""
