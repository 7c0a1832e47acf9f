"""The engine: what is computed, how it is chosen, and how it runs. It knows no public function.

`geometry` names a problem, `planner` chooses how to compute it, and what it returns, a `plan`, runs it on kernels.
"""
