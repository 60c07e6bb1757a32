"""The faces of a photo: where they are, how they look, who they may be."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from cascade.app.answers import PhotoFaces
from cascade.app.people import embeddings_of
from cascade.app.state import Shared, State, problems, work_on_photos
from cascade.app.uploads import Form

router = APIRouter(tags=["faces"])

PHOTO = Form({"photo": "JPEG, PNG, WebP, AVIF, HEIC, BMP, TIFF, GIF or PNM"})

NOT_FOR = (
    "also the ethnicity, as perceived. It errs more on some groups than on others. It must not be used to decide about "
    "a person; the EU AI Act forbids inferring race from biometric data"
)


class Options(BaseModel):
    """What to tell of each face."""

    model_config = ConfigDict(extra="forbid")

    attributes: bool = Field(True, description="age, gender, expression and smile, as perceived")
    ethnicity: bool = Field(False, description=NOT_FOR)
    landmarks: bool = Field(False, description="68 points and the head pose")
    find: bool = Field(False, description="people of the gallery whom the face may show")


@router.post("/faces", responses=problems(uploading=True), openapi_extra=PHOTO.openapi())
async def faces(request: Request, options: Annotated[Options, Query()], state: Shared) -> PhotoFaces:
    """Finds the faces of a photo, and says what was asked for of each."""
    wanted = options.model_dump(exclude={"find"}) | {"embed": options.find}
    told, parts = await work_on_photos(request, PHOTO, state, "faces", wanted)
    if options.find:
        await _name(told, parts[0], state)
    return PhotoFaces.model_validate(told)


async def _name(told: dict[str, Any], embeddings: bytes, state: State) -> None:
    """Adds who each face may be. Of faces that are too small nothing is said."""
    about = state.pool.about
    too_small = told.pop("too_small")
    rows = embeddings_of(embeddings, about["model"]["dimension"])
    matches = await state.gallery.identify(rows, about["operating_point"]["threshold"])
    for face, small, likely in zip(told["faces"], too_small, matches, strict=True):
        face["too_small_to_match"] = small
        face["matches"] = [] if small else [{"name": name, "similarity": near} for name, near in likely]
