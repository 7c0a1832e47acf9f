"""Networks as graphs of calls: built node by node, rewritten for inference, and run within one block of memory.

``nodes`` holds what a graph is made of, ``rewriting`` folds, fuses and drops nodes, ``layout`` shares one block among
intermediate results by their lifetimes, and ``program`` runs what is left. Any function that takes and returns arrays
may be a node; those of `fastconv` have rules in ``rewriting``.
"""

from fastconv.graph.nodes import Network, Value
from fastconv.graph.program import Profile, Program

__all__ = ["Network", "Profile", "Program", "Value"]
