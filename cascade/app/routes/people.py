"""Naming people, and forgetting them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from cascade.app.answers import People, Person
from cascade.app.people import embeddings_of
from cascade.app.problems import Problem
from cascade.app.routes.faces import PHOTO
from cascade.app.state import Responses, Shared, State, problems, work_on_photos
from cascade.app.uploads import Form
from cascade.gallery import LONGEST_NAME, GalleryError, checked_name

router = APIRouter(tags=["people"])

GALLERY = Form({"gallery": "a gallery file, as this server gives it or `cascade gallery add` writes it"})
BINARY: Responses = {200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}}

Name = Annotated[str, Query(min_length=1, max_length=LONGEST_NAME, description="the person's name")]


@router.get("/people", responses=problems())
async def people(state: Shared) -> People:
    """Who is in the gallery."""
    return await _people(state)


@router.post("/people", status_code=201, responses=problems(409, uploading=True), openapi_extra=PHOTO.openapi())
async def add_person(
    request: Request,
    state: Shared,
    name: Name,
    face: Annotated[int | None, Query(ge=1, le=100_000, description="which face, in the order of /faces")] = None,
    extend: Annotated[bool, Query(description="add the photo to a person who is there already")] = False,
    allow_small: Annotated[bool, Query(description="take a face that is often taken for other people's")] = False,
    allow_poor: Annotated[bool, Query(description="take a blurred, badly lit or rotated face, or a profile")] = False,
) -> People:
    """Adds a person by a face of a photo. Ask the person first: embeddings are biometric data."""
    known = _checked(name)
    options = {"face": face, "allow_small": allow_small, "allow_poor": allow_poor}
    _, parts = await work_on_photos(request, PHOTO, state, "enrol", options)
    await state.gallery.add(known, embeddings_of(parts[0], state.pool.about["model"]["dimension"]), extend)
    return await _people(state)


@router.delete("/people", responses=problems(404))
async def remove_person(state: Shared, name: Name) -> People:
    """Forgets a person."""
    await state.gallery.remove(_checked(name))
    return await _people(state)


@router.get("/gallery", responses=problems() | BINARY, response_class=Response)
async def download(state: Shared) -> Response:
    """The gallery as a file. It is encrypted if the file that people are stored in is."""
    headers = {"Content-Disposition": 'attachment; filename="people.gallery"'}
    return Response(await state.gallery.to_bytes(), media_type="application/octet-stream", headers=headers)


@router.put("/gallery", responses=problems(uploading=True), openapi_extra=GALLERY.openapi())
async def open_gallery(request: Request, state: Shared) -> People:
    """Puts the people of a gallery file, which is not encrypted, in the place of those here."""
    limits = state.settings.limits
    async with state.pool.place():
        (data,) = await GALLERY.receive(request, limits.gallery_bytes, limits.upload_seconds)
    await state.gallery.replace(data)
    return await _people(state)


@router.delete("/gallery", responses=problems())
async def clear(state: Shared) -> People:
    """Forgets everybody."""
    await state.gallery.clear()
    return await _people(state)


def _checked(name: str) -> str:
    try:
        return checked_name(name.strip())
    except GalleryError as error:
        raise Problem("request", f"This cannot be a name: {str(error).removeprefix('name: ')}.") from error


async def _people(state: State) -> People:
    counts = await state.gallery.counts()
    path = state.gallery.path
    return People(
        people=[Person(name=name, embeddings=count) for name, count in counts.items()],
        stored_in=None if path is None else str(path),
    )
