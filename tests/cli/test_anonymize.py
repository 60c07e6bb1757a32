"""``cascade anonymize``: copies with hidden faces and without metadata; originals stay as they are."""

from __future__ import annotations

import io
import json
import os
import struct
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cascade import Detector, Gallery, Recognizer, encryption, read_image
from cascade.anonymize import anonymize
from cascade.cli import keys, main
from tests.photos import FACE_BOX, PORTRAIT, portrait

QUICK = ("--min-face", "40", "--rotations", "0", "--threads", "1")
X, Y = 226, 120
"""A pixel in the middle of the portrait's face."""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run ``cascade anonymize`` in tmp_path, where party/sub/a.jpg is the portrait."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "party" / "sub").mkdir(parents=True, exist_ok=True)
    with_metadata(tmp_path / "party" / "sub" / "a.jpg")
    return lambda *argv: main(["anonymize", *map(str, argv), *QUICK])


@pytest.fixture
def render(run):
    return lambda *argv: main(["anonymize", *map(str, argv)])


def with_metadata(path: Path) -> bytes:
    """Write the portrait as cameras do: on its side, with a place, XMP, a comment and a preview, which is returned."""
    rotated = Image.fromarray(np.rot90(portrait()).copy())
    preview = io.BytesIO()
    rotated.resize((160, 160)).save(preview, "JPEG")
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><secret/></x:xmpmeta>"
    rotated.save(path, "JPEG", exif=exif_block(preview.getvalue()), xmp=xmp, comment="secret words", quality=92)
    return preview.getvalue()


def exif_block(preview: bytes) -> bytes:
    """EXIF data with an orientation of 6, a description, a GPS position and a preview, as cameras write them."""
    words = b"a secret place\0\0"
    main, gps, second = 8, 8 + 2 + 3 * 12 + 4, 8 + 2 + 3 * 12 + 4 + 2 + 12 + 4
    text = second + 2 + 3 * 12 + 4
    block = b"II*\0" + struct.pack("<I", main)
    block += struct.pack("<H", 3) + struct.pack("<HHII", 0x010E, 2, len(words), text)
    block += (
        struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + struct.pack("<HHII", 0x8825, 4, 1, gps) + struct.pack("<I", second)
    )
    block += struct.pack("<H", 1) + struct.pack("<HHI4s", 1, 2, 2, b"N\0\0\0") + struct.pack("<I", 0)
    block += struct.pack("<H", 3) + struct.pack("<HHIHH", 0x0103, 3, 1, 6, 0)
    block += struct.pack("<HHII", 0x0201, 4, 1, text + len(words)) + struct.pack("<HHII", 0x0202, 4, 1, len(preview))
    block += struct.pack("<I", 0) + words + preview
    return b"Exif\0\0" + block


def test_the_copy_hides_the_face_and_nothing_tells_of_it(run, tmp_path):
    before = (tmp_path / "party/sub/a.jpg").read_bytes()
    preview = with_metadata(tmp_path / "party/sub/a.jpg")
    assert preview in before
    assert len(Detector(min_face=20, threads=1, rotations=(270,)).detect(preview)) == 1
    assert run("party", "--out", "out", "--method", "solid", "--fill", 0, 255, 0) == 0
    data = (tmp_path / "out/sub/a.jpg").read_bytes()
    assert np.abs(read_image(data)[Y, X].astype(int) - (0, 255, 0)).max() < 12  # upright
    for trace in (b"Exif", b"secret", b"xmpmeta", preview[-300:-260]):
        assert trace in before
        assert trace not in data
    assert data.count(b"\xff\xd8\xff") == 1
    assert not Image.open(io.BytesIO(data)).getexif()
    assert (tmp_path / "party/sub/a.jpg").read_bytes() == before


def test_what_lies_under_transparent_pixels_does_not_show(run, render, tmp_path):
    alpha = np.full((512, 512, 1), 255, np.uint8)
    alpha[300:] = 0
    (tmp_path / "party/sub/a.jpg").unlink()
    Image.fromarray(np.dstack([portrait(), alpha])).save(tmp_path / "party/sub/a.png")
    assert run("party", "--out", "out", "--review", "r.json") == 0
    assert render("--render", "r.json", "--out", "again") == 0
    copies = [read_image(tmp_path / folder / "sub/a.png") for folder in ("out", "again")]
    copies.append(anonymize(tmp_path / "party/sub/a.png", [FACE_BOX]))
    for copy in copies:
        assert (copy[300:] == 255).all()
        assert (copy[200:300] == portrait()[200:300]).all()


def test_files_that_are_there_are_not_replaced_unless_told(run, tmp_path, capsys):
    (tmp_path / "out/sub").mkdir(parents=True)
    (tmp_path / "out/sub/a.jpg").write_bytes(b"mine")
    assert run("party", "--out", "out") == 1
    assert "exists already; --overwrite replaces it" in capsys.readouterr().err
    assert (tmp_path / "out/sub/a.jpg").read_bytes() == b"mine"
    assert run("party", "--out", "out", "--overwrite") == 0
    assert read_image(tmp_path / "out/sub/a.jpg").shape == (512, 512, 3)


def test_the_original_is_never_replaced(run, tmp_path, capsys):
    before = (tmp_path / "party/sub/a.jpg").read_bytes()
    assert run("party/sub/a.jpg", "--out", "party/sub", "--overwrite") == 1
    assert "originals are never replaced" in capsys.readouterr().err
    assert (tmp_path / "party/sub/a.jpg").read_bytes() == before


@pytest.mark.parametrize("again", [False, True])
def test_another_original_is_not_replaced_either(run, render, tmp_path, capsys, again):
    """The copy of 0/a.jpg would have the name of another original."""
    (tmp_path / "party/sub/out").mkdir()
    (tmp_path / "party/0").mkdir()
    for name in ("0/a.jpg", "sub/out/0/a.jpg"):
        (tmp_path / "party" / name).parent.mkdir(exist_ok=True)
        Image.fromarray(portrait()).save(tmp_path / "party" / name)
    before = (tmp_path / "party/sub/out/0/a.jpg").read_bytes()
    paths = ("party/0/a.jpg", "party/sub/a.jpg", "party/sub/out/0/a.jpg")
    if again:
        assert run(*paths, "--review", "r.json", "--review-only") == 0
        assert render("--render", "r.json", "--out", "party/sub/out", "--overwrite") == 1
    else:
        assert run(*paths, "--out", "party/sub/out", "--overwrite") == 1
    assert "is an original or a link; originals are never replaced" in capsys.readouterr().err
    assert (tmp_path / "party/sub/out/0/a.jpg").read_bytes() == before


@pytest.mark.parametrize("option", ["--review", "--sheet"])
def test_reviews_and_sheets_replace_only_their_like(run, tmp_path, capsys, option):
    wanted = ("party", "--out", "out", "--overwrite")
    photo, gallery = tmp_path / "party/sub/a.jpg", tmp_path / "crew.gallery"
    recognizer = Recognizer(threads=1)
    Gallery(recognizer).save(gallery)
    (tmp_path / "notes.txt").write_text("mine")
    before = {path: path.read_bytes() for path in (photo, gallery, tmp_path / "notes.txt")}
    for path, reason in ((photo, "is read by this run"), (gallery, "is read by this run"), ("notes.txt", "exists and")):
        assert run(*wanted, "--keep", "crew.gallery", option, path) == 2
        assert reason in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
    assert {path: path.read_bytes() for path in before} == before
    assert run(*wanted, option, "new") == 0
    (tmp_path / "new").chmod(0o644)
    assert run(*wanted, option, "new") == 0
    if os.name == "posix":
        assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600
    other = "--sheet" if option == "--review" else "--review"
    assert run(*wanted, other, "new") == 2
    assert run(*wanted, "--review", "both", "--sheet", "both") == 2


def test_a_gallery_in_which_nobody_is_matched_hides_all_or_is_refused(run, tmp_path, capsys):
    recognizer = Recognizer(threads=1)
    gallery = Gallery(recognizer)
    for expired in (False, True):
        if expired:
            embedding = recognizer.enrol(PORTRAIT, largest=True)
            gallery.add("Eileen Collins", embedding, expires=date.today() - timedelta(days=1))
        gallery.save(tmp_path / "crew.gallery")
        assert run("party", "--out", "only", "--only", "crew.gallery") == 2
        errors = capsys.readouterr().err
        assert "crew.gallery: nobody in it can be matched, so that no face would be hidden" in errors
        assert ("1 expired and not matched: Eileen Collins" in errors) == expired
        assert run("party", "--out", "kept", "--keep", "crew.gallery", "--overwrite") == 0
        assert "nobody in it can be matched: all faces are hidden" in capsys.readouterr().err
    assert not any(path.is_file() for path in (tmp_path / "only").rglob("*"))


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such links by default")
def test_a_link_to_the_original_is_not_written_through(run, tmp_path):
    (tmp_path / "out/sub").mkdir(parents=True)
    (tmp_path / "out/sub/a.jpg").symlink_to(tmp_path / "party/sub/a.jpg")
    before = (tmp_path / "party/sub/a.jpg").read_bytes()
    assert run("party", "--out", "out", "--overwrite") == 1
    assert (tmp_path / "party/sub/a.jpg").read_bytes() == before


def test_a_bad_file_is_reported_and_the_others_go_on(run, tmp_path, capsys):
    (tmp_path / "party/0.jpg").write_text("no photo")
    assert run("party", "--out", "out") == 1
    assert "party/0.jpg: expected JPEG" in capsys.readouterr().err
    assert (tmp_path / "out/sub/a.jpg").exists()


def test_a_review_is_edited_and_rendered_without_searching(run, render, tmp_path, monkeypatch):
    assert run("party", "--review", "r.json", "--review-only", "--sheet", "s.html") == 0
    assert not (tmp_path / "out").exists()
    assert "data:image/jpeg" in (tmp_path / "s.html").read_text()
    record = json.loads((tmp_path / "r.json").read_text())
    (photo,) = record["photos"]
    assert photo["path"] == "sub/a.jpg"
    photo["faces"] = [{"status": "keep", "box": FACE_BOX}, {"status": "hide", "box": [400, 400, 480, 480]}]
    (tmp_path / "r.json").write_text(json.dumps(record))

    def searched(*_):
        raise AssertionError("searched")

    monkeypatch.setattr("cascade.anonymize.finding.FaceFinder.find", searched)
    assert render("--render", "r.json", "--out", "out", "--method", "solid", "--fill", 0, 255, 0) == 0
    image = read_image(tmp_path / "out/sub/a.jpg").astype(int)
    assert np.abs(image[440, 440] - (0, 255, 0)).max() < 12
    assert np.abs(image[Y, X] - portrait()[Y, X]).max() < 40


def test_a_photo_that_has_changed_is_not_rendered(run, render, tmp_path, capsys):
    run("party", "--review", "r.json", "--review-only")
    Image.fromarray(portrait()).save(tmp_path / "party/sub/a.jpg")
    assert render("--render", "r.json", "--out", "out") == 1
    assert "has changed since it was reviewed" in capsys.readouterr().err
    (tmp_path / "party/sub/a.jpg").unlink()
    assert render("--render", "r.json", "--out", "out") == 1
    assert "a.jpg: cannot be read: No such file" in capsys.readouterr().err


def test_people_of_a_gallery_stay_visible_or_are_the_only_ones_hidden(run, tmp_path, capsys):
    recognizer = Recognizer(threads=1)
    gallery = Gallery(recognizer)
    gallery.add("Eileen Collins", recognizer.enrol(PORTRAIT, largest=True))
    gallery.save(tmp_path / "crew.gallery")
    green = ("--method", "solid", "--fill", 0, 255, 0)
    assert run("party", "--out", "kept", "--keep", "crew.gallery", *green) == 0
    assert "1 photo, 0 faces hidden, 1 kept; copies in kept" in capsys.readouterr().err
    assert run("party", "--out", "only", "--only", "crew.gallery", *green) == 0
    assert "1 photo, 1 face; copies in only" in capsys.readouterr().err
    kept, only = (read_image(tmp_path / name / "sub/a.jpg")[Y, X].astype(int) for name in ("kept", "only"))
    assert np.abs(kept - portrait()[Y, X]).max() < 40
    assert np.abs(only - (0, 255, 0)).max() < 12


def test_an_encrypted_gallery_says_who_stays_visible(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(encryption, "COST", encryption.Cost(64, 1, 1))
    for name in (keys.PASSPHRASE, keys.KEY_FILE):
        monkeypatch.delenv(name, raising=False)
    recognizer = Recognizer(threads=1)
    gallery = Gallery(recognizer)
    gallery.add("Eileen Collins", recognizer.enrol(PORTRAIT, largest=True))
    (tmp_path / "key").write_bytes(bytes(range(32)))
    gallery.encrypt(key=bytes(range(32)))
    gallery.save("crew.gallery")
    green = ("--method", "solid", "--fill", 0, 255, 0)
    assert run("party", "--out", "none", "--keep", "crew.gallery", *green) == 2
    assert "crew.gallery: is encrypted with a key; give --key-file FILE" in capsys.readouterr().err
    assert run("party", "--out", "kept", "--keep", "crew.gallery", "--key-file", "key", *green) == 0
    gallery.encrypt(passphrase="correct horse")
    gallery.save("crew.gallery")
    monkeypatch.setenv(keys.PASSPHRASE, "battery staple")
    assert run("party", "--out", "none", "--only", "crew.gallery", *green) == 2
    assert "the passphrase is wrong, or the file was changed" in capsys.readouterr().err
    monkeypatch.setenv(keys.PASSPHRASE, "correct horse")
    assert run("party", "--out", "only", "--only", "crew.gallery", *green) == 0
    kept, only = (read_image(tmp_path / name / "sub/a.jpg")[Y, X].astype(int) for name in ("kept", "only"))
    assert np.abs(kept - portrait()[Y, X]).max() < 40
    assert np.abs(only - (0, 255, 0)).max() < 12
    assert not any(path.is_file() for path in (tmp_path / "none").rglob("*"))


@pytest.mark.parametrize(("options", "visible"), [((), True), (("--shape", "box"), False)])
def test_drawn_faces_are_ellipses_unless_told(run, render, tmp_path, options, visible):
    """What is outside the corner of the face's box stays visible, also where the review was of another method."""
    assert run("party", "--review", "r.json", "--review-only", "--method", "solid") == 0
    record = json.loads((tmp_path / "r.json").read_text())
    record["photos"][0]["faces"] = [{"status": "hide", "box": FACE_BOX}]
    (tmp_path / "r.json").write_text(json.dumps(record))
    assert render("--render", "r.json", "--out", "out", "--method", "drawn", *options) == 0
    image, (x, y) = read_image(tmp_path / "out/sub/a.jpg").astype(int), (round(side) - 2 for side in FACE_BOX[:2])
    assert (np.abs(image[y, x] - portrait()[y, x]).max() < 40) == visible
    assert np.abs(image[Y, X] - portrait()[Y, X]).max() > 12


def test_formats_stay_or_become_jpeg_under_names_of_their_own(run, tmp_path):
    Image.fromarray(portrait()).save(tmp_path / "party/sub/a.mpo", "JPEG")
    Image.fromarray(portrait()).save(tmp_path / "party/sub/a.png")
    assert run("party", "--out", "out") == 0
    assert sorted(each.name for each in (tmp_path / "out/sub").iterdir()) == ["a-2.jpg", "a.jpg", "a.png"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["a.jpg"], "name a folder for the copies: --out DIR"),
        ([], "name a photo, a video or a folder"),
        (["a.jpg", "--review-only"], "--review-only needs --review FILE"),
        (["a.jpg", "--out", "o", "--keep", "a", "--only", "b"], "--keep and --only cannot be combined"),
        (["a.jpg", "--out", "o", "--threshold", "0.4"], "--threshold is for --keep and --only"),
        (["a.jpg", "--out", "o", "--key-file", "k"], "--key-file is for --keep and --only"),
        (["a.jpg", "--render", "r.json", "--out", "o"], "--render takes no PATH"),
        (["party", "--out", "o", "--every", "0"], "--every: expected at least 1, got 0"),
        (["party", "--out", "o", "--cells", "0"], "--cells: expected 1 to 32, got 0"),
        (["party", "--out", "o", "--min-score", "2"], "--min-score: expected 0.1 to 1, got 2"),
        (["party", "--out", "o", "--keep", "none.gallery"], "none.gallery: there is no such gallery"),
        (["--render", "none.json", "--out", "o"], "--render: none.json: cannot be read"),
    ],
)
def test_wrong_options_are_named(render, capsys, argv, message):
    assert render(*argv) == 2
    assert message in capsys.readouterr().err


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A short video of the portrait's face."""
    pytest.importorskip("av", reason="needs the extra video")
    from cascade.video import VideoWriter

    path = tmp_path / "party" / "clip.mov"
    path.parent.mkdir(exist_ok=True)
    with VideoWriter(path) as writer:
        for index in range(6):
            writer.write(portrait()[30:230, 120 + index : 320 + index].copy(), index / 25)
    return path


def test_a_video_among_photos_is_hidden_and_rendered_again(clip, run, render, tmp_path, capsys):
    from cascade.video import read_video

    assert run("party", "--out", "out", "--review", "r.json", "--method", "solid", "--fill", 0, 255, 0) == 0
    (video,) = json.loads((tmp_path / "r.json").read_text())["videos"]
    tracks = len(video["tracks"])
    assert f"1 photo, 1 video, {1 + tracks} faces; copies in out" in capsys.readouterr().err
    assert (video["path"], video["frames"]) == ("clip.mov", 6)
    for frame in read_video(tmp_path / "out/clip.mov"):
        assert np.abs(frame.image[Y - 30, X - 120 - frame.index].astype(int) - (0, 255, 0)).max() < 40
    record = json.loads((tmp_path / "r.json").read_text())
    for track in record["videos"][0]["tracks"]:
        track["status"] = "keep"
    (tmp_path / "r.json").write_text(json.dumps(record))
    assert render("--render", "r.json", "--out", "again") == 0
    assert f"1 photo, 1 video, 1 face hidden, {tracks} kept; copies in again" in capsys.readouterr().err
    first = next(iter(read_video(tmp_path / "again/clip.mov"))).image.astype(int)
    assert np.abs(first[Y - 30, X - 120] - portrait()[Y, X]).max() < 40


def test_what_is_no_video_is_reported_and_the_others_go_on(clip, run, tmp_path, capsys):
    (tmp_path / "party/text.mp4").write_text("not a video at all\n" * 9)
    (tmp_path / "party/empty.mkv").touch()
    cut = clip.read_bytes()
    (tmp_path / "party/cut.mov").write_bytes(cut[: len(cut) // 2])
    status = run("party", "--out", "out")
    errors = capsys.readouterr().err
    assert status == 1
    assert "party/text.mp4: expected a video" in errors
    assert "it is text" in errors
    assert "party/empty.mkv: expected a video file" in errors
    assert (tmp_path / "out/clip.mov").exists()
    assert not (tmp_path / "out/text.mp4").exists()


def test_a_video_in_a_format_that_is_not_written_becomes_mp4(clip, run, tmp_path):
    clip.rename(clip.with_suffix(".avi"))  # FFmpeg goes by the content
    assert run("party/clip.avi", "--out", "out", "--no-audio") == 0
    assert (tmp_path / "out/clip.mp4").exists()
