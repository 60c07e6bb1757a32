"""Receiving photos: multipart forms within limits, in memory.

A form has the files that its `Form` names, each once, and nothing else. The same `Form` writes its part of the OpenAPI
description.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from cascade.app.problems import Problem

__all__ = ["Form"]

MULTIPART = "multipart/form-data"
OVERHEAD = 4096
"""Bytes of a form around each of its files."""


class _MemoryParser(MultiPartParser):
    """Starlette's own parser puts files of more than 1 MB on the disk."""

    spool_max_size = 0  # in Python's spooled files, 0 stands for no limit


@dataclass(frozen=True)
class Form:
    """The files of a form by name, with what each is."""

    files: dict[str, str]

    def openapi(self) -> dict[str, Any]:
        """What FastAPI takes as ``openapi_extra``."""
        properties = {
            name: {"type": "string", "format": "binary", "description": text} for name, text in self.files.items()
        }
        schema = {
            "type": "object",
            "properties": properties,
            "required": list(self.files),
            "additionalProperties": False,
        }
        return {"requestBody": {"required": True, "content": {MULTIPART: {"schema": schema}}}}

    async def receive(self, request: Request, most_bytes: int, seconds: float) -> list[bytes]:
        """The files in their order, each of at most so many bytes. Raises `Problem`."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != MULTIPART:
            raise Problem("media type", f"Expected a form ({MULTIPART}) with the file, got {kind[:80] or 'no type'}.")
        try:
            async with asyncio.timeout(seconds):
                return await self._parsed(request, most_bytes)
        except TimeoutError as error:
            raise Problem("slow upload", f"The upload took longer than {seconds:g} seconds.") from error
        except MultiPartException as error:
            raise Problem("request", f"The form cannot be read: {error.message}") from error
        except ClientDisconnect as error:
            raise Problem("request", "The upload was given up.") from error

    async def _parsed(self, request: Request, most_bytes: int) -> list[bytes]:
        most = len(self.files) * (most_bytes + OVERHEAD)
        stream = limited(request, most, f"{most_bytes / 2**20:,.0f} MB")
        parser = _MemoryParser(request.headers, stream, max_files=len(self.files), max_fields=0)
        try:
            form = await parser.parse()
        except (KeyError, UnicodeDecodeError) as error:  # of headers that are no headers
            raise Problem("request", "The form cannot be read.") from error
        found = {name: value for name, value in form.multi_items() if isinstance(value, UploadFile)}
        if set(found) != set(self.files):
            raise Problem("request", f"Expected a form with the file {' and '.join(self.files)}.")
        files = [await found[name].read() for name in self.files]
        await form.close()
        for data in files:
            if len(data) > most_bytes:
                raise too_large(f"{most_bytes / 2**20:,.0f} MB")
        return files


async def limited(request: Request, most_bytes: int, in_words: str) -> AsyncGenerator[bytes, None]:
    """The body of a request part by part. Raises `Problem` where it is too large, before it is read if it says so."""
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > most_bytes:
        raise too_large(in_words)
    received = 0
    async for part in request.stream():
        received += len(part)
        if received > most_bytes:
            raise too_large(in_words)
        yield part


def too_large(in_words: str) -> Problem:
    """The problem of a file that is larger than that."""
    return Problem("too large", f"The file is too large: at most {in_words} are taken.")
