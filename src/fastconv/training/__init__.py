"""Training: gradients of whole networks, optimisers, schedules, and checkpoints.

``rules`` says how gradients get through each function, ``reverse`` how they get through a network.
"""

from fastconv.training.reverse import Gradients, Trainable, with_loss
from fastconv.training.rules import RULES, Call, Rule

__all__ = ["RULES", "Call", "Gradients", "Rule", "Trainable", "with_loss"]
