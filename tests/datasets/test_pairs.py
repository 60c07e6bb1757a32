"""The lists of pairs of LFW, CALFW, AgeDB-30 and CACD-VS."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.io import savemat

from cascade.datasets import (
    DatasetError,
    read_agedb_pairs,
    read_cacd_pairs,
    read_calfw_pairs,
    read_lfw_pairs,
)

LFW = "2\t1\nAnna\t1\t4\nAnna\t1\tBo_B\t2\nCy\t1\t2\nCy\t10\tDi\t3\n"
LFW_PHOTOS = [
    *(f"Anna/Anna_{n}.webp" for n in ("0001", "0004")),
    *("Bo_B/Bo_B_0002.jpg", "Cy/Cy_0001.jpg", "Cy/Cy_0002.jpg", "Cy/Cy_0010.jpg", "Di/Di_0003.png"),
]


def short(pairs):
    return [(pair.image_a.name, pair.image_b.name, pair.same, pair.fold) for pair in pairs]


def test_lfw(tmp_path, touch):
    (tmp_path / "pairs.txt").write_text(LFW)
    touch(tmp_path, *LFW_PHOTOS)
    pairs = read_lfw_pairs(tmp_path / "pairs.txt", strict=True)
    assert short(pairs) == [
        ("Anna/Anna_0001", "Anna/Anna_0004", True, 1),
        ("Anna/Anna_0001", "Bo_B/Bo_B_0002", False, 1),
        ("Cy/Cy_0001", "Cy/Cy_0002", True, 2),
        ("Cy/Cy_0010", "Di/Di_0003", False, 2),
    ]
    assert pairs[1].image_a is pairs[0].image_a
    assert pairs[0].image_a.path == tmp_path / "Anna/Anna_0001.webp"
    assert [pair.image_b.person for pair in pairs] == ["Anna", "Bo_B", "Cy", "Di"]
    assert math.isnan(pairs[0].age_a)


@pytest.mark.parametrize("folder", ["images", "lfw", "lfw-deepfunneled"])
def test_lfw_photos_in_the_archive_s_own_folder(folder, tmp_path, touch):
    (tmp_path / "pairs.txt").write_text(LFW)
    touch(tmp_path / "data" / folder, *LFW_PHOTOS)
    pairs = read_lfw_pairs(tmp_path / "pairs.txt", tmp_path / "data", strict=True)
    assert pairs[0].image_a.path == tmp_path / "data" / folder / "Anna/Anna_0001.webp"


def test_lfw_missing_photos(tmp_path, touch):
    (tmp_path / "pairs.txt").write_text(LFW)
    touch(tmp_path, *LFW_PHOTOS[:-1])
    pairs = read_lfw_pairs(tmp_path / "pairs.txt")
    assert len(pairs) == 3
    assert "Di/Di_0003" in str(pairs.problems[0])
    kept = read_lfw_pairs(tmp_path / "pairs.txt", require_images=False, strict=True)
    assert (len(kept), kept[3].image_b.path) == (4, tmp_path / "Di/Di_0003.jpg")
    with pytest.raises(DatasetError, match="Di_0003"):
        read_lfw_pairs(tmp_path / "pairs.txt", strict=True)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Cy\t1\t2\n", "Cy\t1\n", ":4: 3 or 4 fields"),
        ("Cy\t1\t2\n", "Cy\t1\tx\n", ":4: number of a photo"),
        ("Cy\t10\tDi\t3\n", "", ":1: 2 folds of 1"),
        ("Cy\t1\t2\n", "Cy\t1\tDi\t2\n", "fold 2 has 0 pairs of one person and 2 of two"),
    ],
)
def test_lfw_lines_that_do_not_fit(old, new, message, tmp_path, touch):
    (tmp_path / "pairs.txt").write_text(LFW.replace(old, new))
    touch(tmp_path, *LFW_PHOTOS)
    with pytest.raises(DatasetError, match=message):
        read_lfw_pairs(tmp_path / "pairs.txt", require_images=False, strict=True)
    pairs = read_lfw_pairs(tmp_path / "pairs.txt", require_images=False)
    assert any(message.lstrip(":0123456789 ") in str(problem) for problem in pairs.problems)
    # The folds of the other lines stay what they were.
    assert short(pairs)[:2] == short(read_lfw_pairs(tmp_path / "pairs.txt", require_images=False))[:2]


@pytest.mark.parametrize("text", ["", "10\n", "x 1\n", "0 300\n", "Anna 1 4\n"])
def test_lfw_first_line(text, tmp_path):
    (tmp_path / "pairs.txt").write_text(text)
    with pytest.raises(DatasetError, match="first line"):
        read_lfw_pairs(tmp_path / "pairs.txt")


@pytest.mark.parametrize(
    ("read", "text"), [(read_lfw_pairs, LFW), (read_calfw_pairs, "a 1\nb 1\n"), (read_agedb_pairs, "a b 1\n")]
)
def test_lists_without_photos(read, text, tmp_path):
    file = tmp_path / "pairs.txt"
    file.write_text(text)
    with pytest.raises(DatasetError, match="no such folder"):
        read(file, tmp_path / "absent")
    with pytest.raises(DatasetError, match="no pair"):
        read(file)
    with pytest.raises(DatasetError, match="cannot be read"):
        read(tmp_path / "absent.txt")


def calfw_lines(rows):
    return "".join(f"{name} {number}\n" for a, b, number in rows for name in (a, b))


def test_calfw_takes_the_folds_from_the_list(tmp_path, touch):
    same = [(f"An_{k}_0001.jpg", f"An_{k}_0002.jpg", k) for k in range(1, 11)]
    different = [(f"Bo_{k}_0001.jpg", f"Cy_{k}_0001.jpg", 0) for k in range(1, 11)]
    (tmp_path / "pairs_CALFW.txt").write_text(calfw_lines(same + different))
    touch(tmp_path / "aligned images", *(name for row in same + different for name in row[:2]))
    pairs = read_calfw_pairs(tmp_path / "pairs_CALFW.txt", strict=True)
    assert short(pairs)[:2] == [(*same[0][:2], True, 1), (*same[1][:2], True, 2)]
    # Pairs of two people have no fold in the list: a tenth to each, in order.
    assert [pair.fold for pair in pairs] == [*range(1, 11), *range(1, 11)]
    assert [pair.same for pair in pairs] == [True] * 10 + [False] * 10
    assert pairs[10].image_a.path == tmp_path / "aligned images" / "Bo_1_0001.jpg"
    assert (pairs[0].image_b.person, pairs[10].image_b.person) == ("An_1", "Cy_1")


def test_calfw_lists_without_fold_numbers_are_dealt_out_in_order(tmp_path):
    rows = [(f"a_{k}_1.jpg", f"b_{k}_1.jpg", k % 2) for k in range(40)]
    (tmp_path / "pairs.txt").write_text(calfw_lines(rows))
    pairs = read_calfw_pairs(tmp_path / "pairs.txt", require_images=False)
    assert sorted(pair.fold for pair in pairs if pair.same) == sorted([*range(1, 11)] * 2)
    assert sorted(pair.fold for pair in pairs if not pair.same) == sorted([*range(1, 11)] * 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg 1\nb.jpg 2\n", ":2: number 1 expected"),
        ("a.jpg 1\nb.jpg 1\nc.jpg 0\n", ":3: the second photo"),
        ("a.jpg 11\nb.jpg 11\n", ":1: photo and a number"),
        ("a.jpg\nb.jpg 1\n", ":1: photo and a number"),
    ],
)
def test_calfw_lines_that_do_not_fit(text, message, tmp_path):
    (tmp_path / "pairs.txt").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_calfw_pairs(tmp_path / "pairs.txt", require_images=False, strict=True)


AGEDB = [(f"{k}_Maria_{20 + k}_f", f"{k}_Jean_{50 + k}_m", k % 2) for k in range(20)]


def check_agedb(pairs):
    assert short(pairs)[3][2:] == (True, 2)
    assert [pair.fold for pair in pairs] == [k // 2 + 1 for k in range(20)]
    assert [pair.same for pair in pairs] == [bool(k % 2) for k in range(20)]
    assert (pairs[3].age_a, pairs[3].age_b, pairs[3].image_b.person) == (23, 53, "Jean")


@pytest.mark.parametrize("form", ["{}.jpg {}.jpg {}", "{}.jpg,{}.jpg,{}", "{}\t{}\t{}"])
def test_agedb30_text(form, tmp_path, touch):
    lines = [form.format(a, b, label or (-1 if at % 4 else 0)) for at, (a, b, label) in enumerate(AGEDB)]
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    touch(tmp_path, *(f"{name}.jpg" for row in AGEDB for name in row[:2]))
    check_agedb(read_agedb_pairs(tmp_path / "pairs.txt", strict=True))


def test_agedb30_mat(tmp_path, touch):
    splits = np.empty((10, 1), object)
    for fold in range(10):
        part = AGEDB[2 * fold : 2 * fold + 2]
        names = np.empty((2, 2), object)
        for at, (a, b, _) in enumerate(part):
            names[0, at], names[1, at] = {"name": a}, {"name": b}
        labels = np.array([[1 if label else -1 for *_, label in part]])
        split = np.empty((1, 1), [("pairs", object), ("labels", object)])
        split[0, 0] = (names, labels)
        splits[fold, 0] = split
    savemat(tmp_path / "30_years.mat", {"splits": splits})
    touch(tmp_path / "AgeDB", *(f"{name}.jpg" for row in AGEDB for name in row[:2]))
    check_agedb(read_agedb_pairs(tmp_path / "30_years.mat", strict=True))


def test_agedb30_damaged(tmp_path):
    (tmp_path / "x.mat").write_bytes(b"no mat file at all")
    with pytest.raises(DatasetError, match=r"x\.mat"):
        read_agedb_pairs(tmp_path / "x.mat")
    (tmp_path / "x.txt").write_text("a b 1\na b 2\n")
    with pytest.raises(DatasetError, match=r"x\.txt:2"):
        read_agedb_pairs(tmp_path / "x.txt", require_images=False, strict=True)


def test_agedb30_of_aligned_crops_has_no_ages(tmp_path):
    (tmp_path / "x.txt").write_text("1.jpg 2.jpg 1\n3.jpg 4.jpg 0\n")
    pairs = read_agedb_pairs(tmp_path / "x.txt", require_images=False)
    assert math.isnan(pairs[0].age_a)
    assert pairs[0].image_a.person is None


def save_cacd(root, count, touch, width=4):
    return touch(root, *(f"{k:0{width}d}_{side}.jpg" for k in range(count) for side in (0, 1)))


def test_cacd(tmp_path, touch):
    pairs = read_cacd_pairs(save_cacd(tmp_path / "CACD_VS", 800, touch).parent, strict=True)
    assert len(pairs) == 800
    assert pairs.folds() == (1, 2)
    assert [pairs[k].same for k in (0, 199, 200, 399, 400, 599, 600, 799)] == [True, True, False, False] * 2
    assert [pairs[k].fold for k in (0, 399, 400, 799)] == [1, 1, 2, 2]
    assert short(pairs)[7] == ("0007_0", "0007_1", True, 1)
    assert pairs[7].image_b.path == tmp_path / "CACD_VS" / "0007_1.jpg"


def test_cacd_that_is_not_whole(tmp_path, touch):
    save_cacd(tmp_path, 410, touch)
    (tmp_path / "0003_1.jpg").unlink()
    (tmp_path / "0005_0.jpg").unlink()
    (tmp_path / "0005_1.jpg").unlink()
    touch(tmp_path, "readme_0.jpg")
    pairs = read_cacd_pairs(tmp_path)
    assert (len(pairs), pairs.folds()) == (408, (1, 2))
    # A gap in the numbers does not move the others.
    assert (pairs[-1].image_a.name, pairs[-1].same, pairs[-1].fold) == ("0409_0", True, 2)
    told = " ".join(map(str, pairs.problems))
    for part in ("410 pairs, expected a multiple of 400", "1 pairs are missing, the first is 0005", "0003_1", "readme"):
        assert part in told
    assert len(read_cacd_pairs(tmp_path, require_images=False)) == 409
    with pytest.raises(DatasetError):
        read_cacd_pairs(tmp_path, strict=True)


def test_cacd_needs_numbered_photos(tmp_path, touch):
    with pytest.raises(DatasetError, match="0000_0"):
        read_cacd_pairs(touch(tmp_path, "a.jpg"))
