"""``cascade detect --demo``: the face of a portrait that comes with the package."""

from __future__ import annotations

import argparse
import os
from importlib import resources
from typing import TYPE_CHECKING

from cascade.cli.console import counted, writable_folder, writing
from cascade.cli.detect import make_detector
from cascade.cli.outputs import first_usable, is_our_picture
from cascade.cli.results import save_jpeg

if TYPE_CHECKING:
    from cascade.faces import Face

PORTRAIT = "data/astronaut.jpg"
CREDIT = "NASA's portrait of the astronaut Eileen Collins, in the public domain"
PICTURE = "cascade-demo.jpg"


def run_demo(args: argparse.Namespace) -> int:
    """Finds the face of the portrait, draws it and describes it. Raises `CommandError`."""
    from cascade.imaging.reading import read_image

    folder = writable_folder("." if args.out is None else args.out)
    detector = make_detector(args)
    image = read_image((resources.files("cascade") / PORTRAIT).read_bytes())
    faces = detector.detect(image)
    print(f"The photo: {CREDIT}, {image.shape[1]} × {image.shape[0]} pixels.")
    print(f"Found {counted(len(faces), 'face')}{':' if len(faces) else '.'}")
    for face in faces:
        print(f"  {in_words(face)}")
    with writing(str(folder / PICTURE)):
        picture = first_usable(folder / PICTURE, is_our_picture)
        save_jpeg(picture, faces.draw(image))
    print(f"The photo with the faces drawn on it: {os.path.abspath(picture)}")
    return 0


def in_words(face: Face) -> str:
    """A face in a sentence, in whole pixels."""
    left, top = face.box[:2]
    points = [f"({x:.0f}, {y:.0f})" for x, y in face.landmarks]
    return (
        f"{face.width:.0f} × {face.height:.0f} pixels, {left:.0f} from the left and {top:.0f} from the top, "
        f"score {face.score:.3f};\n    eyes at {points[0]} and {points[1]}, nose at {points[2]}, "
        f"mouth from {points[3]} to {points[4]}."
    )
