"""What the server answers. The OpenAPI description is made of these classes, and every answer is checked by them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict

from cascade.app.problems import Kind

__all__ = ["About", "Comparison", "Face", "Match", "NamedFaces", "People", "Person", "PhotoFaces", "ProblemAnswer"]

Pair = Annotated[tuple[float, float], Strict(False)]
Box = Annotated[
    tuple[float, float, float, float], Strict(False), Field(description="x1, y1, x2, y2 in pixels of the upright photo")
]
Size = Annotated[tuple[int, int], Strict(False)]
Share = Annotated[float, Field(ge=0, le=1)]
Similarity = Annotated[float, Field(ge=-1, le=1)]
Count = Annotated[int, Field(ge=0)]


class Answer(BaseModel):
    """Base: no fields but those described, and no texts in place of numbers. JSON has lists, no tuples."""

    model_config = ConfigDict(extra="forbid", strict=True)


class ProblemAnswer(Answer):
    """What went wrong."""

    error: str = Field(description="in words, for the person at the page")
    kind: Kind = Field(description="for programs")


class OperatingPoint(Answer):
    """The threshold of similarity from which two faces count as one person's, and its rates."""

    threshold: Similarity
    false_accept_rate: Share
    true_accept_rate: Share
    measured_on: str
    smallest_good_face: float = Field(description="pixels; smaller faces are more often taken for other people's")


class StatedLimits(Answer):
    """What a request can be."""

    photo_bytes: int
    photo_pixels: int
    gallery_bytes: int
    people: int


class About(Answer):
    """The program, and what it takes."""

    version: str
    recognizer: str
    operating_point: OperatingPoint | None
    limits: StatedLimits
    waiting: Count = Field(description="requests that are worked on or wait")


class Match(Answer):
    """A person of the gallery who may be shown: a similarity is a measurement, not proof."""

    name: str
    similarity: Similarity


class Landmarks(Answer):
    """Five points; left and right are as seen in the photo."""

    left_eye: Pair
    right_eye: Pair
    nose: Pair
    mouth_left: Pair
    mouth_right: Pair


class Face(Answer):
    """A face. What was not asked for, or cannot be told, is null; "unknown" says why it cannot.

    All of it is how the face looks in this photo, not what the person is.
    """

    box: Box
    score: Share
    landmarks: Landmarks
    age: float | None = Field(None, description="years")
    age_group: str | None = None
    gender: str | None = Field(None, description="as perceived")
    gender_probability: Share | None = None
    expression: str | None = None
    expression_probability: Share | None = None
    smile: Literal["yes", "no"] | None = None
    smile_probability: Share | None = None
    ethnicity: str | None = Field(None, description="as perceived; only where it was asked for")
    ethnicity_probability: Share | None = None
    points: list[Pair] | None = Field(None, description="68 points in iBUG's order", min_length=68, max_length=68)
    yaw: float | None = Field(None, description="degrees, positive where the face looks to the right of the photo")
    pitch: float | None = Field(None, description="degrees, positive where it looks up")
    roll: float | None = Field(None, description="degrees, positive where it leans clockwise")
    unknown: Literal["too small", "profile"] | None = None
    matches: list[Match] | None = Field(None, description="people of the gallery, best first; empty: unknown")
    too_small_to_match: bool | None = Field(None, description="whether the face is too small to tell who it is")


class PhotoFaces(Answer):
    """The faces of a photo, best first."""

    width: Annotated[int, Field(ge=1)]
    height: Annotated[int, Field(ge=1)]
    faces: list[Face]
    warnings: list[str] = Field(default_factory=list, description="about the file of the photo")


class NamedFaces(PhotoFaces):
    """The same with the name of the photo's file."""

    path: Annotated[str, Field(max_length=1000)]


class Comparison(Answer):
    """Whether two photos show one person: a measurement with a known error rate, not proof."""

    decision: Literal["the same person", "not the same person", "cannot tell"]
    similarity: Similarity
    threshold: Similarity
    false_accept_rate: Share | None = Field(
        description="share of pairs of different people, with faces of these sizes, that reach the threshold"
    )
    true_accept_rate: Share | None = Field(description="the same of pairs of one person")
    probability: Share | None = Field(
        description="that it is one person, if half of all pairs compared are; null for small faces"
    )
    face_sizes: Pair = Field(description="pixels")
    boxes: Annotated[tuple[Box, Box], Strict(False)]
    sides: Annotated[tuple[Size, Size], Strict(False)] = Field(description="width and height of each photo")
    problems: Annotated[tuple[list[str], list[str]], Strict(False)] = Field(
        description="what is wrong with each face: too small, blurred, profile, badly lit or rotated by 180°"
    )
    warnings: list[str]


class Person(Answer):
    """Somebody in the gallery."""

    name: str
    embeddings: Count


class People(Answer):
    """The gallery."""

    people: list[Person]
    stored_in: str | None = Field(description="the file that it is stored in; null: in memory, until the server stops")
