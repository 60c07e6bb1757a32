"""Photos that are the same, nearly the same, or hold the same picture of a face."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from cascade.archive.duplicates import (
    FACE_PICTURE,
    IDENTICAL,
    LEAST_LIKENESS,
    NEAR,
    Duplicate,
    identical,
    near_identical,
    same_face_pictures,
    sets_of,
)
from cascade.archive.photo_prints import likeness, photo_print
from tests.photos import portrait


def scene(seed: int, size: tuple[int, int] = (300, 200)) -> Image.Image:
    """A picture of soft spots, different for each seed."""
    rng = np.random.default_rng(seed)
    spots = Image.fromarray(rng.integers(0, 256, (6, 9, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    return spots.filter(ImageFilter.GaussianBlur(2))


def printed(image: Image.Image):
    return photo_print(np.asarray(image.convert("RGB")))


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


PICTURES = st.one_of(st.just(Image.fromarray(portrait())), st.integers(0, 10**6).map(scene))


@given(PICTURES, st.floats(0.15, 3), st.floats(0.98, 1.02), st.integers(25, 95))
def test_another_size_and_quality_are_found(image, scale, stretch, quality) -> None:
    size = (round(image.width * scale), round(image.height * scale * stretch))
    other = as_jpeg(image.resize(size, Image.Resampling.LANCZOS), quality)
    assert pairs_of(image, other) == [(0, 1, NEAR)]


@given(PICTURES, st.tuples(*[st.floats(0, 0.05)] * 4))
def test_a_small_crop_is_found(image, cut) -> None:
    left, top, right, bottom = cut
    width, height = image.size
    other = image.crop(
        (int(width * left), int(height * top), width - int(width * right), height - int(height * bottom))
    )
    assert pairs_of(image, other) == [(0, 1, NEAR)]


@given(PICTURES, st.floats(0.7, 1.2))
def test_another_brightness_is_found(image, factor) -> None:
    assert pairs_of(image, image.point(lambda value: min(255, int(value * factor)))) == [(0, 1, NEAR)]


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_different_photos_are_not(one, other) -> None:
    if one != other:
        assert pairs_of(scene(one), scene(other)) == []


def test_a_wholly_different_shape_is_not() -> None:
    image = Image.fromarray(portrait())
    assert pairs_of(image, image.resize((900, 300))) == []
    assert pairs_of(image, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)) == []


@pytest.mark.parametrize("color", [0, 128, 255])
def test_photos_of_one_colour_are_never_near_identical(color: int) -> None:
    assert pairs_of(Image.new("RGB", (90, 60), (color,) * 3), Image.new("RGB", (60, 40), (color,) * 3)) == []


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (3000, 2)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    image = scene(4).resize(size)
    assert likeness(printed(image), printed(scene(5))) < LEAST_LIKENESS


def pairs_of(*images: Image.Image) -> list[tuple[int, int, str]]:
    return [(each.a, each.b, each.kind) for each in near_identical([printed(image) for image in images])]


def test_many_photos() -> None:
    prints = [printed(scene(seed)) for seed in range(40)]
    again = [printed(as_jpeg(scene(seed).resize((150, 100)), 50)) for seed in (3, 17)]
    found = near_identical(prints + again)
    assert [(each.a, each.b) for each in found] == [(3, 40), (17, 41)]
    assert all(LEAST_LIKENESS <= each.likeness <= 1 for each in found)
    assert near_identical(prints[:1]) == near_identical([]) == []


def test_wrong_likeness() -> None:
    with pytest.raises(ValueError, match="least: expected -1 to 1"):
        near_identical([], least=2)


def test_the_same_bytes() -> None:
    found = identical([b"a", b"b", None, b"a", None, b"a"])
    assert found == [Duplicate(0, 3, IDENTICAL, 1.0), Duplicate(0, 5, IDENTICAL, 1.0)]


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)).filter(lambda pair: pair[0] < pair[1]), max_size=15))
def test_sets_join_what_pairs_join(pairs) -> None:
    sets = sets_of(Duplicate(a, b, NEAR, 1.0) for a, b in pairs)
    of = {at: number for number, members in enumerate(sets) for at in members}
    assert all(of[a] == of[b] for a, b in pairs)
    assert sorted(of) == sorted({end for pair in pairs for end in pair})
    assert all(len(members) > 1 and members == sorted(members) for members in sets)


def test_a_portrait_cut_out_of_a_photo(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from cascade.archive import Index
    from cascade.archive.photos import PhotoIndexer
    from cascade.archive.store import Store

    image = Image.fromarray(portrait())
    wide = Image.new("RGB", (1100, 512), "gray")
    wide.paste(image, (300, 0))
    files = [tmp_path / f"{number}.png" for number in range(3)]
    wide.save(files[0])
    image.crop((130, 20, 330, 240)).save(files[1])
    Image.new("RGB", (40, 40)).save(files[2])
    indexer = PhotoIndexer()
    with Store.open(tmp_path / "index", indexer.manifest) as store:
        store.write([indexer.index(file) for file in files])
    index = Index.open(tmp_path / "index")
    found, problems = same_face_pictures(index, list(map(str, files)))
    assert [(each.a, each.b, each.kind) for each in found] == [(0, 1, FACE_PICTURE)]
    assert problems == []
    files[1].write_bytes(b"no photo")
    found, problems = same_face_pictures(index, list(map(str, files)))
    assert (found, len(problems)) == ([], 1)
    assert (
        near_identical([photo_print(np.asarray(Image.open(file).convert("RGB"))) for file in (files[0], files[2])])
        == []
    )
