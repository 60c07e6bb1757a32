"""WIDER FACE annotations in both forms."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from cascade.datasets import DatasetError, read_photo_list, read_wider, read_wider_subsets

GOOD = [10, 20, 30, 40, 1, 0, 1, 0, 2, 1]
INVALID = [1, 2, 3, 4, 0, 0, 0, 1, 0, 0]
FLAT = [5, 6, 0, 7, 0, 0, 0, 0, 0, 0]
BACKWARDS = [50, 10, -20, 30, 0, 0, 0, 0, 0, 0]

EVENTS = {
    "0--Parade": {"one": [GOOD, INVALID], "a.jpg": [FLAT], "photo.g": [GOOD], "endjpg": [BACKWARDS]},
    "1--Hand shaking": {"nobody": [], "two words": [GOOD]},
}
FILES = {f"{event}/{stem}.jpg": rows for event, photos in EVENTS.items() for stem, rows in photos.items()}
NAMES = [f"{event}/{stem}" for event, photos in EVENTS.items() for stem in photos]


@pytest.fixture(params=["mat", "txt"])
def annotation(request, tmp_path, save_wider_mat, save_wider_text):
    folder = tmp_path / "wider_face_split"
    if request.param == "mat":
        return save_wider_mat(folder / "wider_face_train.mat", EVENTS)
    return save_wider_text(folder / "wider_face_train_bbx_gt.txt", FILES)


@pytest.fixture
def text_of(tmp_path):
    def write(text):
        file = tmp_path / "bbx_gt.txt"
        file.write_text(text)
        return file

    return write


def read_all(annotation, **options):
    return read_wider(annotation, require_images=False, **options)


def test_faces_and_labels(annotation):
    dataset = read_all(annotation)
    assert [photo.name for photo in dataset] == NAMES
    assert dataset.problems == ()
    photos = dataset.by_name()
    one = photos["0--Parade/one"]
    assert one.boxes.tolist() == [[10, 20, 40, 60], [1, 2, 4, 6]]
    assert one.ignored.tolist() == [False, True]
    assert {key: values[0] for key, values in one.attributes.items()} == {
        "blur": 1, "expression": 0, "illumination": 1, "invalid": 0, "occlusion": 2, "pose": 1
    }  # fmt: skip
    assert one.landmarks.shape == (2, 5, 2)
    assert np.isnan(one.landmarks).all()
    assert one.fully_labelled
    assert photos["0--Parade/a.jpg"].ignored.tolist() == [True]
    assert photos["1--Hand shaking/nobody"].boxes.shape == (0, 4)


def test_negative_sizes_are_ignored_where_the_face_is_likely_to_be(annotation):
    photo = read_all(annotation).by_name()["0--Parade/endjpg"]
    assert photo.boxes.tolist() == [[30, 10, 50, 40]]
    assert photo.ignored.tolist() == [True]


def test_images_are_found_by_stem(annotation, tmp_path, touch):
    root = touch(
        tmp_path / "WIDER_train" / "images",
        "0--Parade/one.webp", "0--Parade/a.jpg.jpg", "0--Parade/photo.g.PNG", "0--Parade/endjpg.jpeg",
        "0--Parade/endjpg.png", "1--Hand shaking/nobody.jpg", "1--Hand shaking/two words.jpg",
        "1--Hand shaking/x.txt",
    )  # fmt: skip
    dataset = read_wider(annotation)
    assert dataset.problems == ()
    assert [photo.path.relative_to(root).as_posix() for photo in dataset] == [
        "0--Parade/one.webp", "0--Parade/a.jpg.jpg", "0--Parade/photo.g.PNG", "0--Parade/endjpg.jpeg",
        "1--Hand shaking/nobody.jpg", "1--Hand shaking/two words.jpg",
    ]  # fmt: skip
    assert [photo.path for photo in read_wider(annotation, root.parent)] == [photo.path for photo in dataset]


def test_missing_and_empty_images_are_one_problem_per_event(annotation, tmp_path, touch):
    root = touch(tmp_path / "elsewhere", "0--Parade/one.jpg")
    (root / "0--Parade" / "endjpg.jpg").touch()
    dataset = read_wider(annotation, root)
    assert [photo.name for photo in dataset] == ["0--Parade/one"]
    first, second = map(str, dataset.problems)
    assert "3 photos are missing or empty (of 4)" in first
    assert "0--Parade/endjpg" in first
    assert "1--Hand shaking/two words" in second
    assert str(annotation) in first
    with pytest.raises(DatasetError, match="3 photos are missing"):
        read_wider(annotation, root, strict=True)
    assert [photo.name for photo in read_wider(annotation, root, photos="present", strict=True)] == ["0--Parade/one"]


def test_many_missing_photos_give_one_short_problem(tmp_path, save_wider_text):
    file = save_wider_text(tmp_path / "x_bbx_gt.txt", {f"e/{k}.jpg": [GOOD] for k in range(5000)})
    (tmp_path / "images").mkdir()
    (problem,) = read_wider(file, tmp_path / "images").problems
    assert "5000 photos are missing" in problem.message
    assert len(problem.message) < 400


def test_missing_image_folder(annotation, tmp_path):
    with pytest.raises(DatasetError, match="no such image folder"):
        read_wider(annotation)
    with pytest.raises(DatasetError, match="nowhere"):
        read_wider(annotation, tmp_path / "nowhere")
    assert len(read_wider(annotation, tmp_path / "nowhere", require_images=False)) == 6


def test_choosing_photos(annotation):
    asked = ["0--Parade/one.webp", "two words", "0--Parade/a.jpg", "1--Hand shaking/gone"]
    dataset = read_all(annotation, photos=asked)
    assert [photo.name for photo in dataset] == [
        "0--Parade/one",
        "0--Parade/a.jpg",
        "1--Hand shaking/two words",
    ]
    (problem,) = dataset.problems
    assert "1 of 4" in problem.message
    assert "1--Hand shaking/gone" in problem.message
    rest = read_all(annotation, without=asked)
    assert {photo.name for photo in rest} == set(NAMES) - {photo.name for photo in dataset}
    assert rest.problems == ()
    assert len(read_all(annotation, photos=[])) == 0
    assert len(read_all(annotation, photos="all")) == 6
    with pytest.raises(ValueError, match='"present"'):
        read_all(annotation, photos="0--Parade/one")


def test_photo_list(tmp_path):
    file = tmp_path / "list.txt"
    file.write_bytes(b"\xef\xbb\xbf0--Parade/a.jpg.jpg\r\n\r\n1--Hand shaking/two words.webp\r\n")
    assert read_photo_list(file) == ("0--Parade/a.jpg.jpg", "1--Hand shaking/two words.webp")
    file.write_bytes(b"ok\n\xff\n")
    with pytest.raises(DatasetError, match=r"list\.txt:2: .*UTF-8"):
        read_photo_list(file)


def test_text_form_with_windows_line_ends(text_of):
    dataset = read_all(text_of("e/a.JPG\r\n1\r\n1 2 3 4 0 0 0 0 0 0 \r\n"))
    assert dataset[0].name == "e/a"
    assert dataset[0].boxes.tolist() == [[1, 2, 4, 6]]


ROW = " ".join(map(str, GOOD))


@pytest.mark.parametrize(
    ("broken", "line", "message"),
    [
        (f"e/b.jpg\n2\n{ROW}\n1 2 3 x 0 0 0 0 0 0\n", 7, "not a finite number: 'x'"),
        (f"e/b.jpg\n2\n{ROW}\n1 2 3\n", 7, "10 numbers expected, 3 fields found"),
        (f"e/b.jpg\n2\n{ROW}\n1 2 nan 4 0 0 0 0 0 0\n", 7, "not a finite number: 'nan'"),
        (f"e/b.jpg\n2\n{ROW}\n1_0 2 3 4 0 0 0 0 0 0\n", 7, "not a finite number: '1_0'"),
        (f"e/b.jpg\n3\n{ROW}\n", 5, "3 faces announced, 1 lines follow"),
        (f"e/b.jpg\n1\n{ROW}\n{ROW}\n", 7, "more lines than the 1 faces announced"),
        (f"e/b.jpg\n-1\n{ROW}\n", 5, "number of faces expected, found '-1'"),
        (f"e/b.jpg\n{ROW}\n", 5, "number of faces expected"),
        ("e/b.jpg\n", 4, "the number of faces is missing"),
        (f"e/b.jpg\n1\n1e300 {ROW[3:]}\n", 4, "a box is not finite"),
        ("e/b.jpg\n1\n1 2 3 4 0 0 0 1e300 0 0\n", 4, "1 values of invalid, or some out of reach"),
        ("e/b.jpg\n1\ngarbage in a row\n", 6, "10 numbers expected"),
    ],
)
def test_broken_entries_cost_one_photo(text_of, broken, line, message):
    file = text_of(f"e/a.jpg\n1\n{ROW}\n{broken}e/c.jpg\n1\n{ROW}\n")
    dataset = read_all(file)
    assert [photo.name for photo in dataset] == ["e/a", "e/c"]
    (problem,) = dataset.problems
    assert problem.line == line
    assert problem.message.startswith("e/b")
    assert message in problem.message
    assert str(problem).startswith(f"{file}:{line}: e/b")
    with pytest.raises(DatasetError, match=f"bbx_gt.txt:{line}: e/b"):
        read_all(file, strict=True)


def test_stray_text_a_repeated_photo_and_a_cut_end(text_of):
    dataset = read_all(text_of(f"hello\ne/a.jpg\n1\n{ROW}\n\ne/a.jpg\n0\ne/b.jpg\n4\n{ROW}\n"))
    assert [len(photo) for photo in dataset] == [1]
    assert [problem.line for problem in dataset.problems] == [1, 6, 9]
    assert "listed twice" in dataset.problems[1].message


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\0\1\2", b"just some words\n", b"\xff\xfe\x00a"])
def test_wholly_unreadable_text(tmp_path, content):
    file = tmp_path / "broken_bbx_gt.txt"
    file.write_bytes(content)
    with pytest.raises(DatasetError, match=r"broken_bbx_gt\.txt"):
        read_all(file)


@pytest.mark.parametrize("name", ["absent.mat", "absent.txt"])
def test_absent_annotation(tmp_path, name):
    with pytest.raises(DatasetError, match=r"absent\.(mat|txt)"):
        read_all(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\0" * 500])
def test_wholly_unreadable_mat(tmp_path, content):
    file = tmp_path / "broken.mat"
    file.write_bytes(content)
    with pytest.raises(DatasetError, match=r"broken\.mat"):
        read_all(file)


def test_mat_cut_in_the_middle(tmp_path, save_wider_mat):
    file = save_wider_mat(tmp_path / "cut.mat", EVENTS)
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(DatasetError, match=r"cut\.mat"):
        read_all(file)


def test_mat_of_another_structure(tmp_path, save_wider_mat):
    for replaced in (
        {"face_bbx_list": None},
        {"file_list": np.zeros(2)},
        {"file_list": np.full((1, 1), 0, object)},
    ):
        file = save_wider_mat(tmp_path / "odd.mat", EVENTS, **replaced)
        with pytest.raises(DatasetError, match=r"odd\.mat: .*(face_bbx_list|file_list)"):
            read_all(file)


def test_broken_photos_in_a_mat_are_named(tmp_path, save_wider_mat):
    def cells(*values):
        column = np.empty((len(values), 1), object)
        column[:, 0] = values
        return column

    boxes = cells(
        cells(np.ones((2, 4)), np.ones((1, 3)), np.array([[1, 2, np.nan, 4]]), np.array([["w"]])),
        cells(np.ones((1, 4))),
    )
    file = save_wider_mat(tmp_path / "odd.mat", EVENTS, face_bbx_list=boxes)
    dataset = read_all(file)
    assert [photo.name for photo in dataset] == ["0--Parade/one"]
    messages = [problem.message for problem in dataset.problems]
    expected = ["0--Parade/a.jpg: ", "0--Parade/photo.g: ", "0--Parade/endjpg: ", "1--Hand shaking: 2 photos"]
    assert [message.startswith(start) for message, start in zip(messages, expected, strict=True)] == [True] * 4


def test_mat_without_scipy(tmp_path, save_wider_mat, monkeypatch):
    file = save_wider_mat(tmp_path / "x.mat", EVENTS)
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    assert [photo.name for photo in read_all(file)] == NAMES


def save_subsets(folder, save_wider_mat, **per_level):
    events = {"0--Parade": {"a": [GOOD, GOOD], "b": []}, "1--X": {"c.jpg": [GOOD] * 3}}
    for level in ("easy", "medium", "hard"):
        counted = {"0--Parade/a": [2], "0--Parade/b": [], "1--X/c.jpg": [1, 3], **per_level.get(level, {})}
        save_wider_mat(folder / f"wider_{level}_val.mat", events, counted)


def test_subsets(tmp_path, save_wider_mat):
    save_subsets(tmp_path, save_wider_mat, hard={"0--Parade/a": [1, 2]})
    subsets = read_wider_subsets(tmp_path)
    assert subsets.events == ("0--Parade", "1--X")
    assert subsets.photos == ("0--Parade/a", "0--Parade/b", "1--X/c.jpg")
    assert {name: indices.tolist() for name, indices in subsets.easy.items()} == {
        "0--Parade/a": [1], "0--Parade/b": [], "1--X/c.jpg": [0, 2]
    }  # fmt: skip
    assert subsets.hard["0--Parade/a"].tolist() == [0, 1]


def test_subsets_that_do_not_fit(tmp_path, save_wider_mat):
    save_subsets(tmp_path, save_wider_mat, medium={"0--Parade/a": [3]})
    with pytest.raises(DatasetError, match=r"wider_medium_val\.mat: 0--Parade/a: counts a face"):
        read_wider_subsets(tmp_path)
    save_subsets(tmp_path, save_wider_mat, medium={"0--Parade/a": [0]})
    with pytest.raises(DatasetError, match=r"wider_medium_val\.mat: 0--Parade/a: counts a face"):
        read_wider_subsets(tmp_path)
    save_subsets(tmp_path, save_wider_mat)
    save_wider_mat(tmp_path / "wider_hard_val.mat", {"0--Parade": {"a": [GOOD]}}, {"0--Parade/a": []})
    with pytest.raises(DatasetError, match=r"wider_hard_val\.mat: other photos"):
        read_wider_subsets(tmp_path)
    (tmp_path / "wider_hard_val.mat").unlink()
    with pytest.raises(DatasetError, match=r"wider_hard_val\.mat"):
        read_wider_subsets(tmp_path)
