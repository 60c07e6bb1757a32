"""The HTTP server of the page: an ASGI application, and running it until it is stopped."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import uvicorn
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from cascade.app.answers import About
from cascade.app.connections import Connection
from cascade.app.guard import Guard
from cascade.app.people import GalleryOfPage, load_gallery
from cascade.app.pool import Pool
from cascade.app.problems import STATUS, Kind, Problem
from cascade.app.routes import comparing, faces, hiding, people, tables
from cascade.app.settings import Settings
from cascade.app.state import Shared, State, problems
from cascade.gallery import EmbeddingModel, GalleryError
from cascade.version import __version__

__all__ = ["create_app", "serve"]

STOP_SECONDS = 3
"""For requests in progress when the server is stopped."""

MOST_CONNECTIONS = 128

DESCRIPTION = (
    "Finds faces in photos and says how they look, compares them, and finds people of a gallery, all on this machine. "
    "Photos are not stored. A similarity is a measurement with a known error rate, not proof."
)

STATIC = resources.files("cascade") / "app" / "static"
INDEX = "index.html"
MEDIA_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
"""Of the files of the page, by suffix."""

router = APIRouter(prefix="/api")
for part in (faces, comparing, people, hiding, tables):
    router.include_router(part.router)


@router.get("/about", responses=problems(), tags=["about"])
async def about(state: Shared) -> About:
    """The program, its limits and its operating point."""
    limits = state.settings.limits
    names = ("photo_bytes", "photo_pixels", "gallery_bytes", "people")
    return About.model_validate(
        {
            "version": __version__,
            "recognizer": state.pool.about["model"]["name"],
            "operating_point": state.pool.about["operating_point"],
            "limits": {name: getattr(limits, name) for name in names},
            "waiting": state.pool.taken,
        }
    )


def create_app(settings: Settings | None = None) -> FastAPI:
    """The page and its server as an ASGI application, whose workers run from its startup to its shutdown.

    Raises `cascade.GalleryError` at startup for a gallery file that cannot be used, ImportError for an encrypted one
    without the package `cryptography`, and RuntimeError where workers cannot be started.
    """
    chosen = Settings() if settings is None else settings

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with _running(app, chosen):
            yield

    app = FastAPI(
        title="cascade",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,  # their pages load scripts of other hosts
        redoc_url=None,
        lifespan=lifespan,
    )
    app.include_router(router)
    for file in STATIC.iterdir():
        path = "/" if file.name == INDEX else f"/{file.name}"
        app.add_api_route(path, _file(file), methods=["GET"], include_in_schema=False)
    app.add_api_route("/health", _health, methods=["GET"], include_in_schema=False)
    app.add_middleware(Guard, settings=chosen)
    for error, handler in HANDLERS.items():
        app.add_exception_handler(error, handler)
    if chosen.token is not None:
        _require_token(app)
    return app


@asynccontextmanager
async def _running(app: FastAPI, settings: Settings) -> AsyncIterator[None]:
    """The workers and the gallery of the application, for the time of the block."""
    if settings.gallery is not None and settings.gallery.exists():
        load_gallery(settings)  # before the workers, so that what is wrong with it is told at once
    pool = Pool(settings)
    try:
        await pool.start()
        model = pool.about["model"]
        gallery = GalleryOfPage(EmbeddingModel(**{**model, "earlier": tuple(model["earlier"])}), settings)
        app.state.shared = State(settings, pool, gallery)
        yield
    finally:
        await pool.stop()


def _file(file: Traversable) -> Callable[[], Any]:
    data, kind = file.read_bytes(), MEDIA_TYPES[file.name.rpartition(".")[2]]

    async def answer() -> Response:
        return Response(data, media_type=kind)

    return answer


async def _health() -> Response:
    return JSONResponse({"status": "ok"})


def _require_token(app: FastAPI) -> None:
    """States in the description that every request brings the token, as `Guard` demands."""
    described = app.openapi()
    described.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    described["security"] = [{"token": []}]


# --------------------------------------------------------------------------------------------------
# Problems as answers


def _problem_answer(kind: Kind, words: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": words, "kind": kind}, STATUS[kind], headers)


async def _on_problem(request: Request, error: Any) -> JSONResponse:
    assert isinstance(error, Problem)
    return _problem_answer(error.kind, error.words, error.headers)


async def _on_wrong_value(request: Request, error: Any) -> JSONResponse:
    """Of all that is wrong with the values of a request, the first few."""
    words = [f"{'.'.join(map(str, each['loc'][1:])) or 'the request'}: {each['msg']}" for each in error.errors()[:3]]
    return _problem_answer("request", "; ".join(words)[:500])


async def _on_http_error(request: Request, error: Any) -> JSONResponse:
    if isinstance(error.__cause__, Problem):  # of a body that FastAPI was reading
        return await _on_problem(request, error.__cause__)
    kinds: dict[int, Kind] = {404: "missing", 405: "method"}
    words = {404: "There is nothing at this address.", 405: "This address does not take that method."}
    kind = kinds.get(error.status_code, "request")
    headers = dict(error.headers or {})
    if kind == "method":  # Starlette names those of the first route of this path alone
        headers["Allow"] = ", ".join(_methods(request)) or headers.get("allow", "")
    return _problem_answer(kind, words.get(error.status_code, str(error.detail)), headers)


def _methods(request: Request) -> list[str]:
    """The methods that the description states for the path of a request."""
    described: dict[str, Any] = request.app.openapi()["paths"].get(request.url.path, {})
    return [method.upper() for method in described]


async def _on_error(request: Request, error: Any) -> JSONResponse:
    """Of what must not happen: the person is told, and uvicorn prints the rest."""
    return _problem_answer("crashed", "The server made a mistake; its log says which.")


HANDLERS: dict[Any, Any] = {
    Exception: _on_error,
    Problem: _on_problem,
    RequestValidationError: _on_wrong_value,
    HTTPException: _on_http_error,
}


# --------------------------------------------------------------------------------------------------
# Running


class _Server(uvicorn.Server):
    """A server that tells when it answers, and why if it cannot.

    uvicorn itself prints the traceback of what fails while an application starts.
    """

    def __init__(self, app: FastAPI, config: uvicorn.Config, settings: Settings, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._app, self._settings, self._on_ready = app, settings, on_ready
        self._running = AsyncExitStack()
        self.failure: Exception | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts the workers, then to answer, and calls `on_ready`."""
        try:
            await self._running.enter_async_context(_running(self._app, self._settings))
        except (GalleryError, ImportError, OSError, RuntimeError) as error:
            self.failure, self.should_exit = error, True
            return
        await super().startup(sockets)
        if not self.should_exit:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends the requests in progress, then the workers."""
        await super().shutdown(sockets)
        await self._running.aclose()


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    """Whether a message of uvicorn is not the traceback of a request that stopping the server has cancelled."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def serve(listening: socket.socket, settings: Settings, on_ready: Callable[[], None]) -> None:
    """Serves the page until SIGINT or SIGTERM, which is raised again when all workers have ended.

    ``on_ready`` is called when it answers. Raises RuntimeError, OSError, ImportError or `cascade.GalleryError` if it
    cannot start.
    """
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        http=Connection,
        ws="none",
        lifespan="off",
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    logging.getLogger("uvicorn.error").addFilter(_is_no_cancellation)
    server = _Server(app, config, settings, on_ready)
    server.run([listening])
    if server.failure is not None:
        raise server.failure
