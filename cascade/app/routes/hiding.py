"""Photos with their faces hidden."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from cascade.anonymize.settings import Method, Shape
from cascade.app.routes.faces import PHOTO
from cascade.app.state import Responses, Shared, problems, work_on_photos

router = APIRouter(tags=["hiding"])

MEDIA_TYPES = {"jpeg": "image/jpeg", "png": "image/png"}
PICTURE: Responses = {
    200: {
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in MEDIA_TYPES.values()},
        "headers": {"Faces-Hidden": {"description": "how many", "schema": {"type": "integer", "minimum": 0}}},
    }
}


class Options(BaseModel):
    """How faces are hidden."""

    model_config = ConfigDict(extra="forbid")

    method: Method = Field("blur", description="what is put in the place of a face")
    shape: Shape = Field("ellipse", description="of what is hidden")
    margin: float = Field(0.1, ge=0, le=2, description="beyond the face's box on each side, over the box's sides")
    format: Literal["jpeg", "png"] = Field("jpeg", description="of the picture")


@router.post(
    "/hide", responses=problems(uploading=True) | PICTURE, openapi_extra=PHOTO.openapi(), response_class=Response
)
async def hide(request: Request, options: Annotated[Options, Query()], state: Shared) -> Response:
    """A copy of a photo with its faces hidden, and without EXIF data. Faces can be missed: look at it."""
    told, parts = await work_on_photos(request, PHOTO, state, "hide", options.model_dump())
    headers = {"Faces-Hidden": str(told["hidden"])}
    return Response(parts[0], media_type=MEDIA_TYPES[options.format], headers=headers)
