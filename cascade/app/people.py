"""The gallery of the page: in memory, or in a file where one was named."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cascade import gallery_file
from cascade.app.problems import Problem
from cascade.app.settings import Settings
from cascade.gallery import EmbeddingModel, Gallery, GalleryError, GalleryKeyError
from cascade.gallery import Match as GalleryMatch
from cascade.gallery_file import FileState

__all__ = ["GalleryOfPage", "embeddings_of", "load_gallery"]

TOP = 3
"""The most people who are named for a face."""


def embeddings_of(part: bytes, dimension: int) -> npt.NDArray[np.float32]:
    """The embeddings (n, dimension) that a worker gave as bytes."""
    return np.frombuffer(part, np.float32).reshape(-1, dimension)


def load_gallery(settings: Settings, model: EmbeddingModel | None = None) -> Gallery:
    """The gallery in the file of the settings. Raises as `Gallery.load` does."""
    assert settings.gallery is not None
    return Gallery.load(settings.gallery, model, passphrase=settings.passphrase, key=settings.key)


class GalleryOfPage:
    """People, who may be stored in a file, encrypted or not, that others change too.

    Raises `GalleryError` for a file that cannot be used.
    """

    def __init__(self, model: EmbeddingModel, settings: Settings) -> None:
        self._model = model
        self._settings = settings
        self._lock = asyncio.Lock()  # one change at a time
        self._gallery = Gallery(model)
        self._state: FileState | None = None
        if self.path is not None:
            self._load()

    @property
    def path(self) -> Path | None:
        """The file that people are stored in."""
        return self._settings.gallery

    async def counts(self) -> dict[str, int]:
        """How many embeddings each person has."""
        return (await self._current()).counts

    async def add(self, name: str, embeddings: npt.NDArray[np.float32], extend: bool) -> None:
        """Adds a person. Raises `Problem`."""

        def change(gallery: Gallery) -> None:
            if name in gallery and not extend:
                words = f"There is somebody called {name} already. Add the photo to that person, or use another name."
                raise Problem("exists", words)
            if name not in gallery and len(gallery) >= self._settings.limits.people:
                raise Problem("too large", f"The gallery is full: it has {len(gallery):,} people.")
            gallery.add(name, embeddings, extend=extend)

        await self._change(change)

    async def remove(self, name: str) -> None:
        """Removes a person. Raises `Problem`."""

        def change(gallery: Gallery) -> None:
            if name not in gallery:
                raise Problem("missing", f"There is nobody called {name} in the gallery.")
            gallery.forget(name)

        await self._change(change)

    async def clear(self) -> None:
        """Removes everybody. Raises `Problem`."""
        await self._change(_forget_all)

    async def replace(self, data: bytes) -> None:
        """Puts the people of a gallery file in the place of those here. Raises `Problem`."""
        try:
            opened = await asyncio.to_thread(Gallery.from_bytes, data, self._model)
        except GalleryKeyError as error:  # deriving its key may take 1 GiB, which a request must not ask for
            words = "The gallery is encrypted. Start the server with it: cascade app --gallery FILE."
            raise Problem("gallery", words) from error
        except GalleryError as error:
            raise Problem("gallery", f"The gallery cannot be used: {error}.") from error
        most = self._settings.limits.people
        if len(opened) > most:
            raise Problem("too large", f"The gallery has {len(opened):,} people; at most {most:,} are taken.")

        def change(gallery: Gallery) -> None:
            _forget_all(gallery)  # the audit goes out with each download
            for name in opened.names:
                record = opened.record(name)
                gallery.add(name, opened.embeddings(name), note=record.note, expires=record.expires)

        await self._change(change)

    async def to_bytes(self) -> bytes:
        """The gallery as the bytes of a file, encrypted if its own file is."""
        await self._current()
        async with self._lock:  # a change meanwhile would give people the embeddings of others
            return await asyncio.to_thread(self._gallery.to_bytes)

    async def identify(self, embeddings: npt.NDArray[np.float32], threshold: float) -> list[list[GalleryMatch]]:
        """Who each face may be, nobody below the threshold."""
        return (await self._current()).identify(embeddings, TOP, threshold)

    async def _current(self) -> Gallery:
        """The gallery, read again if others have changed its file. Raises `Problem`."""
        if self.path is not None and gallery_file.file_state(self.path) != self._state:
            async with self._lock:
                try:
                    await asyncio.to_thread(self._load)
                except GalleryError as error:
                    raise Problem("gallery", f"The gallery file cannot be read any more: {error}.") from error
        return self._gallery

    def _load(self) -> None:
        assert self.path is not None
        state = gallery_file.file_state(self.path)
        self._gallery = Gallery(self._model) if state is None else load_gallery(self._settings, self._model)
        self._state = state

    async def _change(self, change: Callable[[Gallery], None]) -> None:
        """Changes the gallery, in its file under the file's lock. Raises `Problem`, and the gallery stays as it was."""
        async with self._lock:
            try:
                if self.path is None:
                    change(self._gallery)
                else:
                    await asyncio.to_thread(self._change_file, change)
            except GalleryError as error:
                words = str(error).removeprefix("name: ")
                raise Problem("gallery", f"The gallery stays as it was: {words}.") from error

    def _change_file(self, change: Callable[[Gallery], None]) -> None:
        assert self.path is not None
        passphrase, key = self._settings.passphrase, self._settings.key
        with Gallery.changing(self.path, self._model, create=True, passphrase=passphrase, key=key) as gallery:
            change(gallery)
        # as it was under the lock: others may have changed the file since
        self._gallery, self._state = gallery, gallery.state_of(self.path)


def _forget_all(gallery: Gallery) -> None:
    """Forgets everybody at once, since each time all of the audit is gone through."""
    if gallery.names:
        gallery.forget(*gallery.names)
