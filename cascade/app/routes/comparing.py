"""Whether two photos show one person."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from cascade.app.answers import Comparison
from cascade.app.state import Shared, problems, work_on_photos
from cascade.app.uploads import Form

router = APIRouter(tags=["comparing"])

TWO_PHOTOS = Form({"first": "a photo of one person", "second": "another photo"})

DECISIONS = {True: "the same person", False: "not the same person", None: "cannot tell"}
"""In words; None where the faces are too small."""


@router.post("/compare", responses=problems(uploading=True), openapi_extra=TWO_PHOTOS.openapi())
async def compare(
    request: Request,
    state: Shared,
    largest: Annotated[bool, Query(description="where a photo has several faces, take the largest")] = False,
) -> Comparison:
    """Compares the faces of two photos at the operating point of the network."""
    told, _ = await work_on_photos(request, TWO_PHOTOS, state, "compare", {"largest": largest})
    same, warning = told.pop("same"), told.pop("warning")
    told["warnings"] += [warning] if warning else []
    return Comparison.model_validate(told | {"decision": DECISIONS[same]})
