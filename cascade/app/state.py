"""What the handlers share: settings, workers and the gallery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from cascade.app.answers import ProblemAnswer
from cascade.app.people import GalleryOfPage
from cascade.app.pool import Pool
from cascade.app.problems import STATUS
from cascade.app.settings import Settings
from cascade.app.uploads import Form

__all__ = ["Responses", "Shared", "State", "problems", "work_on_photos"]


@dataclass(frozen=True)
class State:
    """What lives as long as the server."""

    settings: Settings
    pool: Pool
    gallery: GalleryOfPage


def _state(request: Request) -> State:
    found: State = request.app.state.shared
    return found


Shared = Annotated[State, Depends(_state)]

DESCRIPTIONS = {
    401: "the token is missing or wrong",
    403: "the request comes from a page of another site",
    404: "there is no such person",
    408: "the upload took too long",
    409: "the name is taken",
    413: "the file is too large, or has too many pixels",
    415: "not a multipart form",
    421: "the server does not answer to this host name",
    422: "a wrong value, or a file that cannot be used",
    500: "the process that decodes photos ended",
    503: "too many requests are waiting; Retry-After has the seconds",
}

PROBLEMS = (401, 403, 421, 422)
UPLOADING = (408, 413, 415, 500, 503)


Responses = dict[int | str, dict[str, Any]]
"""By status, what FastAPI is told of a response."""


def problems(*more: int, uploading: bool = False) -> Responses:
    """The problems of a handler, for its description."""
    statuses = sorted({*PROBLEMS, *more, *(UPLOADING if uploading else ())})
    assert set(statuses) <= set(STATUS.values())
    return {status: {"model": ProblemAnswer, "description": DESCRIPTIONS[status]} for status in statuses}


async def work_on_photos(
    request: Request, form: Form, state: State, task: str, options: dict[str, Any]
) -> tuple[dict[str, Any], list[bytes]]:
    """What a task of `cascade.app.tasks` gives for the photos of a request, within the limits. Raises `Problem`."""
    limits = state.settings.limits

    async def still_wanted() -> bool:
        return not await request.is_disconnected()

    async with state.pool.place():
        photos = await form.receive(request, limits.photo_bytes, limits.upload_seconds)
        return await state.pool.work(task, options, photos, still_wanted)
