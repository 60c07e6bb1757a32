"""Results as a table."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

from cascade.app.answers import NamedFaces
from cascade.app.problems import Problem
from cascade.app.state import Responses, Shared, problems
from cascade.csv_text import csv_line
from cascade.face_records import ANGLES, csv_header, csv_rows
from cascade.faces import Faces

router = APIRouter(tags=["tables"])

ATTRIBUTES = ("age", "age_group")
CLASSES = ("gender", "expression", "smile", "ethnicity")
CSV: Responses = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}


@router.post("/csv", responses=problems(413) | CSV, response_class=Response)
async def csv(photos: Annotated[list[NamedFaces], Body()], state: Shared) -> Response:
    """Results of /faces as CSV, a row for each face, with the columns of `cascade analyze` that are not empty."""
    told = [[_row(face.model_dump()) for face in photo.faces] for photo in photos]
    wanted = [*ATTRIBUTES, *(part for name in CLASSES for part in (name, f"{name}_probability")), *ANGLES]
    rows = [row for of_photo in told for row in of_photo]
    columns = [name for name in wanted if any(row[name] is not None for row in rows)]
    columns += ["unknown", *(name for name in ("name", "similarity") if any(name in row for row in rows))]
    lines = [csv_line(csv_header(columns))]
    for photo, further in zip(photos, told, strict=True):
        try:
            faces = Faces.from_dicts([face.model_dump() for face in photo.faces])
        except ValueError as error:
            raise Problem("request", f"These are no faces: {error}.") from error
        lines += map(csv_line, csv_rows(photo.path, faces, further, columns))
    headers = {"Content-Disposition": 'attachment; filename="faces.csv"'}
    return Response("".join(lines), media_type="text/csv", headers=headers)


def _row(face: dict[str, Any]) -> dict[str, Any]:
    """What is said of a face, with its most likely person."""
    if face["matches"] is None:  # nobody was looked for
        return face
    likely: dict[str, Any] = face["matches"][0] if face["matches"] else {"name": None, "similarity": None}
    return face | likely
