"""Small galleries for tests, and strategies for their people."""

from __future__ import annotations

import unicodedata

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cascade.gallery import EmbeddingModel, Gallery

MODEL = EmbeddingModel("small", "ab" * 32, 4)
OTHER = EmbeddingModel("other", "cd" * 32, 4)

NAMES = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=20
).map(lambda text: unicodedata.normalize("NFC", text)).filter(lambda text: text and text.strip() == text)  # fmt: skip


def unit(rows: object) -> np.ndarray:
    rows = np.asarray(rows, np.float32)
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def directions(count: st.SearchStrategy[int]) -> st.SearchStrategy[np.ndarray]:
    """Unit rows (n, 4) with many equal ones and no zeros."""
    return count.flatmap(lambda n: hnp.arrays(np.int8, (n, 4), elements=st.integers(-2, 2))).map(
        lambda rows: unit(rows + 0.5)
    )


PEOPLE = st.dictionaries(NAMES, directions(st.integers(1, 3)), max_size=6)


def filled(people: dict[str, np.ndarray]) -> Gallery:
    gallery = Gallery(MODEL)
    for name, rows in people.items():
        gallery.add(name, rows)
    return gallery


def small() -> Gallery:
    return filled({"Ann": unit([[1, 0, 0, 0], [1, 1, 0, 0]]), "Bob": unit([0, 0, 1, 0]), "Zoë": unit([0, 0, 0, 1])})


def same(one: Gallery, other: Gallery) -> bool:
    return (
        one.model == other.model
        and one.names == other.names
        and all(np.array_equal(one.embeddings(name), other.embeddings(name)) for name in one.names)
    )
