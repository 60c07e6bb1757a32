"""The mean embedding of each age, for age-mean subtraction in the recogniser."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cascade.recognize import centred_by_age
from train.recognition.crops import FaceCrops
from train.recognition.measures import outputs
from train.recognition.model import RecognitionModel

MAX_FACES = 6000  # that the means are of
RIDGE = 10.0  # faces that stand for "no mean at all" at each age: few faces of an age move its mean little


def age_means(embeddings: NDArray[np.float32], probabilities: NDArray[np.float64]) -> NDArray[np.float32]:
    """Means (101, D) such that probabilities (n, 101) times them come nearest to the embeddings (n, D) of length 1.

    Ridge regression: ages are known as distributions only, and a face counts for each age by its probability.
    """
    gram = probabilities.T @ probabilities + RIDGE * np.eye(probabilities.shape[1])
    return np.asarray(np.linalg.solve(gram, probabilities.T @ embeddings), np.float32)


def model_age_means(model: RecognitionModel, faces: FaceCrops, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """The means of a model with an age head, over those of the faces whose person or age is known: the sharp ones."""
    known = rows[(faces.persons[rows] >= 0) | ~np.isnan(faces.ages[rows])]
    some = np.sort(np.random.default_rng(0).permutation(known)[:MAX_FACES])
    embeddings, logits = outputs(model.eval(), faces.crops[some])
    assert logits is not None
    return age_means(centred_by_age(embeddings.numpy(), logits.numpy(), None), logits.double().softmax(1).numpy())
