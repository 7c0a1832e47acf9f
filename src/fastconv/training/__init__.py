"""Training: gradients of whole networks, optimisers, schedules, checkpoints, and the loop that puts them together.

``rules`` says how gradients get back through each function, ``reverse`` how they get through a network.

Examples
--------
>>> import numpy as np, fastconv
>>> trainable = fastconv.training.Trainable(fastconv.networks.build("lenet5"))
>>> optimiser = fastconv.training.SGD(trainable.parameters, rate=0.01, momentum=0.9)
>>> images, labels = np.random.default_rng(0).random((8, 1, 28, 28), np.float32), np.arange(8)
>>> for _ in range(20):
...     loss, scores, gradients = trainable.gradients(images, labels)
...     optimiser.update(gradients)
>>> loss < 2
True
>>> program = trainable.network().prepare()  # as far as it has learnt
"""

from fastconv.training.checkpoints import load, save
from fastconv.training.fitting import Epoch, accuracy, fit
from fastconv.training.optimisers import SGD, Adam, AdamW, Optimiser
from fastconv.training.reverse import Gradients, Trainable, with_loss
from fastconv.training.rules import RULES, Call, Rule
from fastconv.training.schedules import cosine, stepped

__all__ = [
    "RULES",
    "SGD",
    "Adam",
    "AdamW",
    "Call",
    "Epoch",
    "Gradients",
    "Optimiser",
    "Rule",
    "Trainable",
    "accuracy",
    "cosine",
    "fit",
    "load",
    "save",
    "stepped",
    "with_loss",
]
