"""The laboratory: plans and lowerings to look at, strategies to compare, machines to measure."""
