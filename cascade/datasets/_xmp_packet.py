"""Face regions in an XMP packet: read in any form that RDF allows, and added to what is there.

Two schemas say the same: that of the Metadata Working Group (MWG), and Microsoft's. Both count in parts of the stored
picture, before its EXIF orientation is applied.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple
from xml.dom import Node, minidom

from ._xml import check_xml, xml_text
from .photo import DatasetError

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
MWG = "http://www.metadataworkinggroup.com/schemas/regions/"
AREA = "http://ns.adobe.com/xmp/sType/Area#"
DIMENSIONS = "http://ns.adobe.com/xap/1.0/sType/Dimensions#"
MP = "http://ns.microsoft.com/photo/1.2/"
MPRI = "http://ns.microsoft.com/photo/1.2/t/RegionInfo#"
MPREG = "http://ns.microsoft.com/photo/1.2/t/Region#"

SAME = 0.5
"""Overlap (IoU) from which two regions are of one face."""

EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    f'<x:xmpmeta xmlns:x="adobe:ns:meta/">\n<rdf:RDF xmlns:rdf="{RDF}">\n</rdf:RDF>\n</x:xmpmeta>\n'
    '<?xpacket end="w"?>'
)
_SPACES_MWG = f'xmlns:rdf="{RDF}" xmlns:mwg-rs="{MWG}" xmlns:stArea="{AREA}" xmlns:stDim="{DIMENSIONS}"'
_SPACES_MP = f'xmlns:rdf="{RDF}" xmlns:MP="{MP}" xmlns:MPRI="{MPRI}" xmlns:MPReg="{MPREG}"'
NEW_MWG = (
    f'<rdf:Description {_SPACES_MWG}>\n<mwg-rs:Regions rdf:parseType="Resource">\n'
    '<mwg-rs:AppliedToDimensions stDim:w="{width}" stDim:h="{height}" stDim:unit="pixel"/>\n'
    "<mwg-rs:RegionList><rdf:Bag>\n</rdf:Bag></mwg-rs:RegionList>\n</mwg-rs:Regions>\n</rdf:Description>"
)
NEW_MP = (
    f'<rdf:Description {_SPACES_MP}>\n<MP:RegionInfo rdf:parseType="Resource">\n'
    "<MPRI:Regions><rdf:Bag>\n</rdf:Bag></MPRI:Regions>\n</MP:RegionInfo>\n</rdf:Description>"
)
FACE_MWG = (  # short, as JPEG has room for 65,502 bytes
    f'<rdf:li {_SPACES_MWG} rdf:parseType="Resource"><mwg-rs:Type>Face</mwg-rs:Type><mwg-rs:Area '
    'stArea:x="{x:.6f}" stArea:y="{y:.6f}" stArea:w="{w:.6f}" stArea:h="{h:.6f}" stArea:unit="normalized"/></rdf:li>'
)
FACE_MP = (
    f'<rdf:li {_SPACES_MP} rdf:parseType="Resource">'
    "<MPReg:Rectangle>{left:.6f}, {top:.6f}, {w:.6f}, {h:.6f}</MPReg:Rectangle></rdf:li>"
)
LIST_MWG = ((MWG, "Regions"), (MWG, "RegionList"))
LIST_MP = ((MP, "RegionInfo"), (MPRI, "Regions"))
NAME_MWG, NAME_MP = (MWG, "Name"), (MPREG, "PersonDisplayName")


class Region(NamedTuple):
    """A face: edges in parts of the stored picture, 0..1, and a name, empty if there is none."""

    x1: float
    y1: float
    x2: float
    y2: float
    name: str


Entry = tuple[Region, minidom.Element]


def read_regions(packet: bytes, shown: str) -> list[Region]:
    """Return the faces of a packet, those that stand in both schemas once. Raises DatasetError."""
    return _all_regions(_parsed(packet, shown))


def _all_regions(document: minidom.Document) -> list[Region]:
    found = [region for region, _ in _mwg_entries(document)]
    for region, _ in _mp_entries(document):
        at = _same(region, found)
        if at is None:
            found.append(region)
        elif not found[at].name:
            found[at] = found[at]._replace(name=region.name)
    return found


def merge_regions(packet: bytes | None, regions: Sequence[Region], size: tuple[int, int], shown: str) -> bytes | None:
    """Return the packet with these faces in both schemas, or None where it has them all.

    Of a face that is there already, by `SAME`, region and name stay; it gets a name if it has none in either schema.
    Names become one line. Everything else in the packet stays. ``size`` is that of the stored picture. Raises
    DatasetError for what is no XMP packet.
    """
    document = _parsed(packet or EMPTY.encode(), shown)
    present = _all_regions(document)
    places = [_same(region, present) for region in regions]
    names = ["" if at is None else present[at].name for at in places]
    lines = [name or " ".join(region.name.split()) for region, name in zip(regions, names, strict=True)]
    regions = [region._replace(name=line) for region, line in zip(regions, lines, strict=True)]
    changed = _merge(document, regions, _Schema(_mwg_entries, LIST_MWG, NEW_MWG, FACE_MWG, NAME_MWG), size)
    changed |= _merge(document, regions, _Schema(_mp_entries, LIST_MP, NEW_MP, FACE_MP, NAME_MP), size)
    if not changed:
        return None
    try:
        return "".join(_written(child, {}) for child in document.childNodes).encode()
    except RecursionError:
        raise DatasetError(f"{shown}: not XMP: its elements are nested too deeply") from None


class _Schema(NamedTuple):
    """How one schema has its regions."""

    entries: Callable[[minidom.Document], Iterator[Entry]]
    path: tuple[tuple[str, str], ...]
    new: str
    face: str
    name: tuple[str, str]


def _merge(document: minidom.Document, regions: Sequence[Region], schema: _Schema, size: tuple[int, int]) -> bool:
    """Add faces to the list of one schema; tells whether that changed anything."""
    present = list(schema.entries(document))
    known = [region for region, _ in present]
    changed = False
    for region in regions:
        at = _same(region, known)
        if at is None:
            bag = _bag(document, schema.path)
            if bag is None:  # an element without children is false
                bag = _new_bag(document, schema, size)
            x1, y1, x2, y2, _ = region
            places = {"x": (x1 + x2) / 2, "y": (y1 + y2) / 2, "w": x2 - x1, "h": y2 - y1, "left": x1, "top": y1}
            element = _imported(document, schema.face.format(**places))
            bag.appendChild(element)
            bag.appendChild(document.createTextNode("\n"))
            known.append(region)
        elif region.name and not known[at].name and at < len(present):
            element = present[at][1]
            known[at] = known[at]._replace(name=region.name)
        else:
            continue
        changed = True
        if region.name:
            _put_name(document, element, schema.name, region.name)
    return changed


def _same(region: Region, others: Sequence[Region]) -> int | None:
    """The place of the region of the same face, or None."""
    overlaps = [_overlap(region, other) for other in others]
    best = max(range(len(others)), key=lambda at: overlaps[at], default=None)
    return best if best is not None and overlaps[best] >= SAME else None


def _overlap(a: Region, b: Region) -> float:
    width = min(a.x2, b.x2) - max(a.x1, b.x1)
    height = min(a.y2, b.y2) - max(a.y1, b.y1)
    if width <= 0 or height <= 0:
        return 0.0
    union = (a.x2 - a.x1) * (a.y2 - a.y1) + (b.x2 - b.x1) * (b.y2 - b.y1) - width * height
    return width * height / union


# --------------------------------------------------------------------------------------------------
# Reading


def _parsed(packet: bytes, shown: str) -> minidom.Document:
    data = packet.strip(b" \t\r\n\0")
    check_xml(data, shown)
    try:
        document = minidom.parseString(data)
        rdf = _rdf(document)
    except RecursionError:
        raise DatasetError(f"{shown}: not XMP: its elements are nested too deeply") from None
    if rdf is None:
        raise DatasetError(f"{shown}: not XMP: it has no rdf:RDF")
    return document


def _rdf(document: minidom.Document) -> minidom.Element | None:
    found = document.getElementsByTagNameNS(RDF, "RDF")
    return found[0] if found else None


def _mwg_entries(document: minidom.Document) -> Iterator[Entry]:
    """Regions of type Face, and those without a type, which Picasa wrote."""
    for item in _items(document, LIST_MWG):
        area = _field(item, (MWG, "Area"))
        if _text(item, (MWG, "Type")) not in ("Face", "") or not isinstance(area, minidom.Element):
            continue
        x, y, w, h = (_number(_text(area, (AREA, name))) for name in "xywh")
        if all(map(math.isfinite, (x, y, w, h))) and w > 0 and h > 0 and _text(area, (AREA, "unit")) != "pixel":
            yield Region(x - w / 2, y - h / 2, x + w / 2, y + h / 2, _text(item, NAME_MWG).strip()), item


def _mp_entries(document: minidom.Document) -> Iterator[Entry]:
    for item in _items(document, LIST_MP):
        sides = [_number(text) for text in _text(item, (MPREG, "Rectangle")).split(",")]
        if len(sides) == 4 and all(map(math.isfinite, sides)) and sides[2] > 0 and sides[3] > 0:
            x, y, w, h = sides
            yield Region(x, y, x + w, y + h, _text(item, NAME_MP).strip()), item


def _items(document: minidom.Document, path: tuple[tuple[str, str], ...]) -> list[minidom.Element]:
    bag = _bag(document, path)
    return [] if bag is None else [each for each in _children(bag) if _is(each, (RDF, "li"))]


def _bag(document: minidom.Document, path: tuple[tuple[str, str], ...]) -> minidom.Element | None:
    """The list that a path of properties leads to."""
    rdf = _rdf(document)
    for description in _children(rdf) if rdf is not None else []:
        place: minidom.Element | str | None = description
        for step in path:
            place = _field(place, step) if isinstance(place, minidom.Element) else None
        if isinstance(place, minidom.Element):
            for child in _children(place):
                if child.namespaceURI == RDF and child.localName in ("Bag", "Seq"):
                    return child
    return None


def _field(element: minidom.Element, name: tuple[str, str]) -> minidom.Element | str | None:
    """A property: an element, or the text of an attribute, of the element or of an rdf:Description in it."""
    for place in (element, *(child for child in _children(element) if _is(child, (RDF, "Description")))):
        if place.hasAttributeNS(*name):
            return place.getAttributeNS(*name)
        for child in _children(place):
            if _is(child, name):
                return child
    return None


def _text(element: minidom.Element, name: tuple[str, str]) -> str:
    found = _field(element, name)
    if not isinstance(found, minidom.Element):
        return found or ""
    return "".join(node.data for node in found.childNodes if node.nodeType in (Node.TEXT_NODE, Node.CDATA_SECTION_NODE))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _children(element: minidom.Element) -> list[minidom.Element]:
    return [child for child in element.childNodes if child.nodeType == Node.ELEMENT_NODE]


def _is(element: minidom.Element, name: tuple[str, str]) -> bool:
    return (element.namespaceURI, element.localName) == name


# --------------------------------------------------------------------------------------------------
# Writing


def _imported(document: minidom.Document, text: str) -> minidom.Element:
    element = minidom.parseString(text.encode()).documentElement
    assert element is not None
    return document.importNode(element, True)


def _new_bag(document: minidom.Document, schema: _Schema, size: tuple[int, int]) -> minidom.Element:
    """The list of a schema that the packet has not."""
    rdf = _rdf(document)
    assert rdf is not None
    description = _imported(document, schema.new.format(width=size[0], height=size[1]))
    about = [each.getAttributeNS(RDF, "about") or each.getAttribute("about") for each in _children(rdf)]
    description.setAttributeNS(RDF, "rdf:about", next((each for each in about if each), ""))
    rdf.appendChild(description)
    rdf.appendChild(document.createTextNode("\n"))
    bag = _bag(document, schema.path)
    if bag is None or not _is_below(bag, description):  # a damaged list of that schema stands before it
        raise DatasetError(f"its list of regions ({schema.path[-1][1]}) is damaged; it was left as it is")
    return bag


def _is_below(node: minidom.Element, ancestor: minidom.Element) -> bool:
    place: Any = node
    while place is not None and place is not ancestor:
        place = place.parentNode
    return place is ancestor


def _put_name(document: minidom.Document, element: minidom.Element, name: tuple[str, str], text: str) -> None:
    """Give a region a name, in place of an empty one."""
    space, local = name
    found = _field(element, name)
    if isinstance(found, minidom.Element):
        place = found.parentNode
        assert place is not None
        place.removeChild(found)
    places = [element, *(child for child in _children(element) if _is(child, (RDF, "Description")))]
    for each in places:
        if each.hasAttributeNS(*name):
            each.removeAttributeNS(*name)
    prefix = "mwg-rs" if space == MWG else "MPReg"
    if places[-1] is element and element.getAttributeNS(RDF, "parseType") != "Resource":  # of attributes alone
        element.setAttribute(f"xmlns:{prefix}", space)
        element.setAttributeNS(space, f"{prefix}:{local}", text)
        return
    added = _imported(document, f'<{prefix}:{local} xmlns:{prefix}="{space}">{xml_text(text)}</{prefix}:{local}>')
    places[-1].appendChild(added)


def _written(node: Any, spaces: dict[str, str]) -> str:
    """A node as text, without namespaces that are declared around it already.

    Unlike with `toxml`, line ends in attributes stay what they are.
    """
    if node.nodeType == Node.ELEMENT_NODE:
        given = dict(node.attributes.items())
        declared = {key: value for key, value in given.items() if key == "xmlns" or key.startswith("xmlns:")}
        told = {key: value for key, value in given.items() if key not in declared or spaces.get(key) != value}
        attributes = "".join(f' {key}="{xml_text(value)}"' for key, value in told.items())
        inside = "".join(_written(child, spaces | declared) for child in node.childNodes)
        return f"<{node.tagName}{attributes}>{inside}</{node.tagName}>" if inside else f"<{node.tagName}{attributes}/>"
    if node.nodeType in (Node.TEXT_NODE, Node.CDATA_SECTION_NODE):
        return re.sub("[&<>\r]", lambda found: xml_text(found[0]), node.data)
    if node.nodeType == Node.PROCESSING_INSTRUCTION_NODE:
        begins = node.target == "xpacket" and "end=" not in node.data
        return f"<?{node.target} {node.data}?>" + "\n" * begins
    return f"<!--{node.data}-->" if node.nodeType == Node.COMMENT_NODE else ""
