"""The registered sets: each can be read where it lies, and none that is for choosing or testing is trained on."""

from __future__ import annotations

import json
import shutil
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from cascade.datasets import (
    LABEL_READERS,
    PEOPLE_READERS,
    PHOTO_READERS,
    REGISTRY,
    Dataset,
    DatasetError,
    Entry,
    LabelledPhotos,
    Pairs,
    People,
)
from tests.eval.helpers import save_coco
from tests.train.drawn_faces import save_photo
from train.attributes.settings import read_config
from train.detection.sources import SourceError, photos, read_sources
from train.recognition.sources import read_face_sources, source_photos

REPOSITORY = Path(__file__).resolve().parents[2]
RECIPES = sorted((REPOSITORY / "train" / "recipes").glob("*.toml"))
DETECTION = REPOSITORY / "train" / "recipes" / "data.toml"
KEPT_OUT = [name for name, entry in REGISTRY.items() if entry.split != "train"]

ROW = [10, 10, 30, 40, 0, 0, 0, 0, 0, 0]
EVENTS = {"0--Parade": {"train": [ROW], "kept": [ROW]}}
FOLDS = 10


@pytest.fixture(scope="module")
def data(tmp_path_factory, save_wider_mat) -> Path:
    """A data folder in which every registered set has a photo or more; no test changes it."""
    root = tmp_path_factory.mktemp("data")
    split = root / "wider" / "wider_face_split"
    split.mkdir(parents=True)
    for part, events in (("train", EVENTS), ("val", {"13--Interview": {"one": [ROW]}})):
        save_wider_mat(split / f"wider_face_{part}.mat", events)
        for event, listed in events.items():
            _save(root / f"wider/WIDER_{part}/images/{event}", *(f"{stem}.png" for stem in listed))
    (root / "wider/validation_from_train.txt").write_text("0--Parade/kept.png\n")
    face = [((5, 5, 20, 20), None)]
    for file, name in (
        ("fddb_single/annotations.json", "1.png"),
        ("face_masks/annotations.json", "images/1.png"),
        ("net7876/train.json", "train/1.png"),
        ("net7876/test.json", "test/1.png"),
    ):
        _save(root / Path(file).parent, name)
        save_coco(root / file, {name: face})
    for part in ("train", "test"):
        _save(root / "no_face" / part, "1.png")
    _save(
        root / "lfw/images",
        *(f"{p}{k}/{p}{k}_000{n}.png" for p in "AB" for k in range(FOLDS) for n in (1, 2)),
        "C/C_1.png",
    )
    pairs = [f"A{k}\t1\t2\nA{k}\t1\tB{k}\t1\n" for k in range(FOLDS)]
    (root / "lfw/pairs.txt").write_text(f"{FOLDS}\t1\n{''.join(pairs)}")
    for part in ("utkface/train", "utkface/val", "utkface/test", "utkface_full"):
        _save(root / part, "20_0_0_2017.png", "30_1_1_2018.png")
    (root / "utkface_excluded.txt").write_text("30_1_1_2018.png\n")
    _save(root / "fgnet/images", "001A02.png")
    _save(root / "cfp/Data/Images/001/frontal", "01.png")
    for part in ("helen_trainset", "afw_afw"):
        _save(root / "points68" / part, "1.png")
        (root / "points68" / part / "1.pts").write_text("".join(f"{10 + n % 9} {10 + n // 9}\n" for n in range(68)))
    _save_points(root)
    _save_attribute_sets(root)
    for entry in REGISTRY.values():
        if entry.kind == "pseudo":
            name = "portraits/held_out.png" if entry.split == "holdout" else "trained.png"
            _save(root / entry.images, name)
            (root / entry.annotations).write_text(json.dumps({name: [[5, 5, 25, 25, 0.9, 4, None]]}))
    (root / "face_masks.json").write_text("{}")
    return root


def _save_points(root: Path) -> None:
    _save(root / "facepoint/net_7876", "1.png")
    (root / "facepoint/trainImageList.txt").write_text("net_7876\\1.png 1 9 1 9 2 3 7 3 5 5 3 7 6 7\n")


def _save_attribute_sets(root: Path) -> None:
    for part in ("train", "val"):
        _save(root / "fairface" / part, "1.png", "2.png")
        rows = "".join(f"{part}/{n}.png,20-29,Male,White,TRUE\n" for n in (1, 2))
        (root / f"fairface/{part}.csv").write_text(f"file,age,gender,race,service_test\n{rows}")
    for part in ("train", "validation", "test"):
        _save(root / "fer2013" / part, "happy/1.png", "sad/2.png")
    _save(root / "genki4k/files", *(f"file000{n}.png" for n in range(1, 5)))
    (root / "genki4k/labels.txt").write_text("1 0 0 0\n0 0 0 0\n" * 2)
    _save(root / "celeba/images", "000001.png")
    (root / "celeba/identity_CelebA.txt").write_text("000001.png 2880\n")
    (root / "celeba/list_attr_celeba.txt").write_text("1\nMale Smiling\n000001.png 1 -1\n")
    with zipfile.ZipFile(root / "celeba/list_attr_celeba.zip", "w") as archive:
        archive.write(root / "celeba/list_attr_celeba.txt", "list_attr_celeba.txt")


def _save(folder: Path, *names: str) -> None:
    for name in names:
        save_photo(folder / name, np.zeros((60, 60, 3), np.uint8))


def paths_of(entry: Entry, data: Path) -> set[Path]:
    """The photos of a set, those of its people in other folds left out."""
    read = entry.read(data)
    return {photo.path for photo in (read.photos() if isinstance(read, Pairs) else read)}


@cache
def trained_on(recipe: Path, data: Path) -> set[Path]:
    """The photos of a recipe, for the detector, recognition or attributes."""
    if "[[task]]" in recipe.read_text():
        named = [source for source in read_config(recipe, data).sources if source.use == "train"]
        return {photo.path for source in named for photo in source.read(data)}
    try:
        sources = read_sources(recipe, data, data)
    except SourceError:
        return {photo.path for source in read_face_sources(recipe, data) for photo in source_photos(source)}
    return {photo.path for source in sources for photo in photos(source)}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
@pytest.mark.parametrize("name", KEPT_OUT)
def test_no_recipe_trains_on_a_set_for_choosing_or_testing(data, recipe, name):
    trained = trained_on(recipe, data)
    assert trained
    assert not trained & paths_of(REGISTRY[name], data)


@pytest.mark.parametrize("name", KEPT_OUT)
@pytest.mark.parametrize("read", [lambda file, root: read_sources(file, root, root), read_face_sources])
def test_such_a_set_cannot_be_named_in_a_recipe(tmp_path, name, read):
    recipe = tmp_path / "data.toml"
    recipe.write_text(f'[[source]]\nname = "{name}"\n')
    with pytest.raises(SourceError, match=f"{name} is a {REGISTRY[name].split} set, which takes no part in training"):
        read(recipe, tmp_path)


def test_a_recipe_that_trains_on_a_test_set_by_its_folder_is_noticed(data, tmp_path):
    """The guard above would fail: it looks at photos, not at names."""
    recipe = tmp_path / "data.toml"
    recipe.write_text(f'{DETECTION.read_text()}\n[[source]]\nkind = "folder"\nimages = "no_face"\n')
    assert trained_on(recipe, data) & paths_of(REGISTRY["no_face"], data)


@pytest.mark.parametrize("name", REGISTRY)
def test_every_set_is_read_and_says_what_it_is(data, name, tmp_path):
    data = shutil.copytree(data, tmp_path / "data")
    entry = REGISTRY[name]
    read = entry.read(data)
    assert len(read) > 0
    readers = {Dataset: PHOTO_READERS, People: PEOPLE_READERS, LabelledPhotos: LABEL_READERS}
    assert type(read) is next((kind for kind, known in readers.items() if entry.kind in known), Pairs)
    assert entry.licence and entry.title and entry.note
    if isinstance(read, Dataset):
        assert all(("no_face" in entry.labels) == (len(photo) == 0) for photo in read)
    shutil.rmtree(data / entry.images)
    with pytest.raises(DatasetError):
        entry.read(data, strict=True)


def test_lists_split_one_set_in_two(data):
    split = {
        name: [photo.name for photo in REGISTRY[name].read(data)] for name in ("wider_train", "wider_train_holdout")
    }
    assert split == {"wider_train": ["0--Parade/train"], "wider_train_holdout": ["0--Parade/kept"]}
    assert [photo.name for photo in REGISTRY["utkface_full"].read(data)] == ["20_0_0_2017.png"]
    people = {photo.person for photo in REGISTRY["lfw_train"].read(data)}
    assert people == {"C", *(f"{p}{k}" for p in "AB" for k in range(FOLDS - 2))}
    assert {pair.fold for pair in REGISTRY["lfw_pairs"].read(data)} == {9, 10}


def test_a_named_set_can_be_changed(data, tmp_path):
    recipe = tmp_path / "data.toml"
    recipe.write_text('[[source]]\nname = "net7876_train"\nbox_rule = [0, 0, 0, 0]\nabout = "mine"\n')
    (source,) = read_sources(recipe, data, data)
    plain = REGISTRY["net7876_train"]
    assert (source.kind, source.images, source.annotations) == ("coco", data / "net7876", data / "net7876/train.json")
    assert (source.box_rule, source.about, source.fully_labelled) == ((0.0,) * 4, "mine", plain.fully_labelled)
    recipe.write_text('[[source]]\nname = "net7876_train"\n')
    (source,) = read_sources(recipe, data, data)
    assert (source.box_rule, source.about) == (plain.box_rule, plain.note)


def test_recipes_take_background_only_where_every_face_is_known(data):
    """A few faces of face_masks have no label, so its background counts with pseudo-labels alone."""
    assert not REGISTRY["face_masks"].fully_labelled
    for recipe in (file for file in RECIPES if file.stem.startswith("data")):
        sources = {source.images.name: source for source in read_sources(recipe, data, data)}
        assert sources["face_masks"].fully_labelled and sources["face_masks"].pseudo_labels is not None
        assert not sources["net7876"].fully_labelled


@pytest.mark.parametrize("value", ['"voc"', "3", '["wider_train"]'])
def test_an_unknown_name_is_told(tmp_path, value):
    recipe = tmp_path / "data.toml"
    recipe.write_text(f"[[source]]\nname = {value}\n")
    for read in (lambda: read_sources(recipe, tmp_path, tmp_path), lambda: read_face_sources(recipe, tmp_path)):
        with pytest.raises(SourceError, match=r"source 1: name: expected one of wider_train, .*got"):
            read()
