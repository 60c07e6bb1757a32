"""Face regions in XMP: sidecars and photos, all orientations, merged with what is there."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cascade.datasets import DatasetError, Photo, read_xmp, write_photos
from cascade.datasets._xmp_packet import Region, merge_regions, read_regions
from cascade.imaging.reading import read_image, read_size
from cascade.imaging.xmp import find_xmp, with_xmp
from tests.datasets.exchanged import make_photos

STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How an upright picture is turned before it is stored with an orientation."""

LIGHTROOM = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"
 xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/" crs:Note="two&#10;lines">
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">A &amp; B</rdf:li></rdf:Alt></dc:title>
<mwg-rs:Regions rdf:parseType="Resource"><mwg-rs:RegionList><rdf:Bag>
<rdf:li><rdf:Description mwg-rs:Name="Ann" mwg-rs:Type="Face" mwg-rs:Rotation="0.1"><mwg-rs:Area stArea:h="0.2"
 stArea:w="0.1" stArea:x="0.25" stArea:y="0.3"/></rdf:Description></rdf:li>
<rdf:li><rdf:Description mwg-rs:Type="Focus"><mwg-rs:Area stArea:h="1" stArea:w="1" stArea:x="0.5" stArea:y="0.5"/>
</rdf:Description></rdf:li></rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions></rdf:Description></rdf:RDF></x:xmpmeta>"""
"""A packet in the short form that Adobe's programs write."""


def oriented(path: Path, orientation: int, **options) -> Photo:
    """A photo with a white box on black, upright at 20..44 × 10..26 of 96×64, stored under an orientation."""
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[10:26, 20:44] = 255
    picture = Image.fromarray(pixels)
    if orientation in STORED:
        picture = picture.transpose(STORED[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(path, exif=exif.tobytes(), **options)  # for HEIC, bytes alone turn the picture
    points = np.full((1, 5, 2), np.nan, np.float32)
    box = np.array([[20, 10, 44, 26]], np.float32)
    return Photo(path, path.name, box, np.zeros(1, bool), points, True, {"name": np.array(["Ann"])}, size=(96, 64))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8, 0, 9])
def test_regions_are_of_the_stored_picture(orientation, suffix, tmp_path):
    photo = oriented(tmp_path / f"a{suffix}", orientation, **({"quality": 95} if suffix == ".jpg" else {}))
    before = Image.open(photo.path).tobytes()
    write_photos("xmp", None, [photo], into_files=True)
    stored = Image.open(photo.path)
    assert stored.tobytes() == before
    packet = find_xmp(photo.path.read_bytes())
    assert packet is not None
    (region,) = read_regions(packet, "it")
    x1, y1, x2, y2 = np.array(region[:4]) * np.tile(stored.size, 2)
    gray = np.asarray(stored.convert("L"), float)
    y, x = np.nonzero(gray > 128)
    assert [x1, y1, x2, y2] == pytest.approx([x.min(), y.min(), x.max() + 1, y.max() + 1], abs=1.01)
    (found,) = read_xmp(tmp_path, strict=True)
    assert found.boxes == pytest.approx(photo.boxes, abs=1e-3)
    assert found.size == read_size(photo.path).upright == (96, 64)
    assert read_image(photo.path)[18, 30].min() > 200


@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_regions_of_heic_are_those_of_a_jpeg(orientation, tmp_path):
    """HEIC readers turn the picture themselves; its regions are of the picture as the camera stored it all the same."""
    pytest.importorskip("pillow_heif", reason="pillow-heif is not installed").register_heif_opener()
    photos = [
        oriented(tmp_path / "a.heic", orientation, format="HEIF", quality=95),
        oriented(tmp_path / "b.jpg", orientation, quality=95),
    ]
    write_photos("xmp", None, photos)
    (heic,), (jpeg,) = (read_regions((tmp_path / f"{photo.name}.xmp").read_bytes(), "it") for photo in photos)
    assert heic[:4] == pytest.approx(jpeg[:4], abs=1e-6)
    for found in read_xmp(tmp_path, strict=True):
        assert found.boxes == pytest.approx(photos[0].boxes, abs=1e-3)
        assert found.size == read_size(found.path).upright == (96, 64)
        assert read_image(found.path)[18, 30].min() > 200
        assert read_image(found.path)[40, 70].max() < 60


@pytest.mark.parametrize(("sidecars", "name"), [("photo.jpg.xmp", "a.jpg.xmp"), ("photo.xmp", "a.xmp")])
def test_sidecars_are_beside_the_photos_or_in_a_folder(sidecars, name, tmp_path):
    photo = oriented(tmp_path / "a.jpg", 6)
    before = photo.path.read_bytes()
    write_photos("xmp", None, [photo], sidecars=sidecars)
    write_photos("xmp", tmp_path / "out", [photo], sidecars=sidecars)
    assert photo.path.read_bytes() == before
    assert (tmp_path / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    assert read_xmp(tmp_path)[0].boxes == pytest.approx(photo.boxes, abs=1e-3)


def test_what_is_there_stays(tmp_path):
    photo = oriented(tmp_path / "a.jpg", 1)
    sidecar = tmp_path / "a.jpg.xmp"
    sidecar.write_bytes(LIGHTROOM)
    write_photos("xmp", None, [photo])
    text = sidecar.read_text()
    for part in ('crs:Note="two&#10;lines"', "A &amp; B", 'mwg-rs:Rotation="0.1"', 'mwg-rs:Type="Focus"'):
        assert part in text
    names = [region.name for region in read_regions(sidecar.read_bytes(), "it")]
    assert names == ["Ann", "Ann"]  # hers elsewhere, and ours
    again = sidecar.stat().st_mtime_ns
    write_photos("xmp", None, [photo])
    assert sidecar.stat().st_mtime_ns == again
    assert text.count("<rdf:Bag>") == 2


def test_a_face_that_is_there_keeps_its_name_or_gets_one():
    ann = Region(0.2, 0.2, 0.3, 0.4, "")
    packet = merge_regions(LIGHTROOM, [ann._replace(name="Bob")], (100, 100), "it")
    assert packet is not None  # Microsoft's schema had no region
    assert [region.name for region in read_regions(packet, "it")] == ["Ann"]
    assert packet.count(b"Ann") == 2  # in both schemas
    assert b"Bob" not in packet
    unnamed = merge_regions(None, [ann], (100, 100), "it")
    assert unnamed is not None
    named = merge_regions(unnamed, [ann._replace(name="Bob  <\n1>")], (100, 100), "it")
    assert named is not None
    assert [region.name for region in read_regions(named, "it")] == ["Bob < 1>"]
    assert merge_regions(named, [ann], (100, 100), "it") is None


def test_a_region_of_attributes_alone_gets_a_name():
    """As Microsoft's programs write people whom nobody named yet."""
    region = b'<rdf:li MPReg:Rectangle="0.1, 0.1, 0.2, 0.2"/>'
    spaces = b'xmlns:MPReg="http://ns.microsoft.com/photo/1.2/t/Region#"'
    packet = merge_regions(None, [Region(0.6, 0.6, 0.8, 0.8, "")], (10, 10), "it")
    assert packet is not None
    at = packet.index(b"<rdf:li", packet.index(b"MPRI:Regions"))
    packet = packet[:at] + region.replace(b"<rdf:li", b"<rdf:li " + spaces) + packet[at:]
    named = merge_regions(packet, [Region(0.1, 0.1, 0.3, 0.3, "Ann")], (10, 10), "it")
    assert named is not None
    assert b'MPReg:PersonDisplayName="Ann"' in named
    assert sorted(region.name for region in read_regions(named, "it")) == ["", "Ann"]


def test_a_new_sidecar_begins_with_the_photos_own_packet(tmp_path):
    photo = oriented(tmp_path / "a.jpg", 1)
    photo.path.write_bytes(with_xmp(photo.path.read_bytes(), LIGHTROOM))
    write_photos("xmp", None, [photo])
    assert "A &amp; B" in (tmp_path / "a.jpg.xmp").read_text()


@given(
    st.lists(
        st.tuples(*[st.floats(0, 0.9)] * 2, *[st.floats(0.05, 0.1)] * 2, st.text(max_size=5)), max_size=5, unique=True
    )
)
def test_regions_of_any_name_are_read_back(rows):
    regions = [Region(x, y, x + w, y + h, name) for x, y, w, h, name in rows]
    packet = merge_regions(None, regions, (100, 50), "it")
    assert (packet is None) == (not regions)
    if packet is not None:
        found = read_regions(packet, "it")
        assert 1 <= len(found) <= len(regions)
        assert np.abs(np.array(found[0][:4]) - np.array(regions[0][:4])).max() < 1e-5
        assert merge_regions(packet, [region._replace(name="") for region in regions], (100, 50), "it") is None


@pytest.mark.parametrize(
    ("packet", "message"),
    [
        (b"<x", "not XML"),
        (b"<a/>", "no rdf:RDF"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "document type"),
        (b"\xff\xfe\xff", "not XML"),
        (b"<a>" * 5000 + b"</a>" * 5000, "nested too deeply"),
    ],
)
def test_packets_that_are_none(packet, message, tmp_path):
    photo = oriented(tmp_path / "a.jpg", 1)
    (tmp_path / "a.jpg.xmp").write_bytes(packet)
    with pytest.raises(DatasetError, match=message):
        write_photos("xmp", None, [photo])
    assert (tmp_path / "a.jpg.xmp").read_bytes() == packet
    assert message in str(read_xmp(tmp_path).problems[0])


def test_photos_that_have_changed_or_are_gone(tmp_path):
    photo = oriented(tmp_path / "a.jpg", 6)
    with pytest.raises(ValueError, match="it has 96×64 pixels, and its faces are of a photo of 64×96"):
        write_photos("xmp", None, [replace(photo, size=(64, 96))])
    with pytest.raises(ValueError, match="there is none at"):
        write_photos("xmp", None, [replace(photo, path=tmp_path / "b.jpg")])
    with pytest.raises(ValueError, match="expected None with into_files"):
        write_photos("xmp", tmp_path, [photo], into_files=True)


def test_boxes_are_cut_and_ignored_ones_left_out(tmp_path):
    photo = make_photos(tmp_path)[0]
    wide = replace(photo, boxes=np.array([[-20, -10, 60, 40], [200, 0, 210, 10], [0, 0, 5, 5]], np.float32))
    write_photos("xmp", None, [wide])
    (found,) = read_xmp(tmp_path)
    assert found.boxes == pytest.approx(np.array([[0, 0, 60, 40]]), abs=1e-3)
    assert not found.fully_labelled


# --------------------------------------------------------------------------------------------------
# Files


def picture(kind: str, **options) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (16, 8), (200, 10, 10)).save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_packets_in_files_are_replaced(kind):
    data = picture(kind)
    assert find_xmp(data) is None
    once = with_xmp(data, b"<one/>")
    assert find_xmp(once) == b"<one/>"
    twice = with_xmp(once, b"<two and more/>")
    assert find_xmp(twice) == b"<two and more/>"
    assert len(twice) - len(once) == len("<two and more/>") - len("<one/>")
    assert Image.open(io.BytesIO(twice)).tobytes() == Image.open(io.BytesIO(data)).tobytes()
    assert Image.open(io.BytesIO(twice)).info.get("xmp") == b"<two and more/>"


def test_exif_stays_first_and_everything_else_where_it_is():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = picture("JPEG", exif=exif, comment=b"hello")
    written = with_xmp(data, b"<one/>")
    assert written.index(b"Exif\0") < written.index(b"<one/>") < written.index(b"hello")
    assert written.replace(b"\xff\xe1\0\x25http://ns.adobe.com/xap/1.0/\0<one/>", b"") == data


def test_compressed_packets_in_png():
    data = picture("PNG")
    import struct
    import zlib

    body = b"iTXtXML:com.adobe.xmp\0\x01\0\0\0" + zlib.compress(b"<one/>")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    assert find_xmp(data[:33] + chunk + data[33:]) == b"<one/>"


@pytest.mark.parametrize("data", [b"", b"GIF89a", picture("GIF"), picture("JPEG")[:20], picture("PNG")[:40]])
def test_files_without_room_for_a_packet(data):
    with pytest.raises(ValueError, match="image: "):
        with_xmp(data, b"<one/>")


def test_what_is_too_long_for_jpeg():
    with pytest.raises(ValueError, match="at most 65,502 bytes"):
        with_xmp(picture("JPEG"), b" " * 70000)


def test_a_directory_of_pictures_stays_right():
    mpf = b"\xff\xe2\0\x0aMPF\0abcd"
    data = picture("JPEG")
    first = data[:20] + mpf + data[20:]
    assert with_xmp(first, b"<one/>").index(b"<one/>") < with_xmp(first, b"<one/>").index(b"MPF\0")
    behind = first[: 20 + len(mpf)] + b"\xff\xe1\0\x25http://ns.adobe.com/xap/1.0/\0<one/>" + first[20 + len(mpf) :]
    assert find_xmp(with_xmp(behind, b"<two/>")) == b"<two/>"
    with pytest.raises(ValueError, match="use a sidecar"):
        with_xmp(behind, b"<longer/>")
