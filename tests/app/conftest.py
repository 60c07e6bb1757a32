"""Fixtures of the page's tests: one application with its workers for all HTTP tests, and a server for browsers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("fastapi", reason="needs the extra [app]")
pytest.importorskip("httpx2", reason="needs httpx2, for the framework's test client")

from tests.app.helpers import client_of, make_settings, running_server


@pytest.fixture(scope="session")
def shared_client():
    with client_of(make_settings()) as client:
        yield client


@pytest.fixture
def client(shared_client):
    """A client of one application for all tests, with nobody in its gallery."""
    shared_client.delete("/api/gallery").raise_for_status()
    return shared_client


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of ``cascade app`` in a process of its own."""
    with running_server() as running:
        yield running.address
