"""The OpenAPI description, and whether the server does what it says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cascade.app.problems import KINDS, STATUS
from cascade.app.state import DESCRIPTIONS
from tests.app.helpers import running_server

TOKEN = "the-token-of-the-description"


def test_what_is_described(client):
    told = client.get("/openapi.json").json()
    assert told["openapi"].startswith("3.1")
    operations = {(path, method) for path, methods in told["paths"].items() for method in methods}
    assert operations == {
        ("/api/about", "get"), ("/api/faces", "post"), ("/api/compare", "post"), ("/api/hide", "post"),
        ("/api/people", "get"), ("/api/people", "post"), ("/api/people", "delete"),
        ("/api/gallery", "get"), ("/api/gallery", "put"), ("/api/gallery", "delete"), ("/api/csv", "post"),
    }  # fmt: skip
    for methods in told["paths"].values():
        for operation in methods.values():
            assert {"401", "403", "421", "422"} <= set(operation["responses"])
            problem = operation["responses"]["422"]["content"]["application/json"]["schema"]
            assert problem == {"$ref": "#/components/schemas/ProblemAnswer"}
    form = told["paths"]["/api/compare"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["first", "second"]
    assert "HTTPValidationError" not in json.dumps(told)


def test_every_problem_has_a_status_and_words():
    assert set(STATUS) == set(KINDS)
    assert set(DESCRIPTIONS) | {405} == set(STATUS.values())


@pytest.mark.slow
@pytest.mark.parametrize("token", [None, TOKEN])
def test_the_server_does_what_the_description_says(token, tmp_path):
    """Schemathesis makes requests of all kinds, right and wrong ones, and checks every answer.

    Not that every right request succeeds: the photos that it makes up are none.
    """
    command = shutil.which("schemathesis", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if command is None:
        pytest.skip("needs schemathesis")
    options = ["--checks", "all", "--exclude-checks", "positive_data_acceptance", "--max-examples", "5", "--no-color"]
    if token is not None:
        # the check of the token is the same for wrong requests of all kinds
        options += ["--phases", "fuzzing", "--header", f"Authorization: Bearer {token}"]
    with running_server(*(["--token", token] if token else [])) as running:
        target = f"{running.address}openapi.json"
        done = subprocess.run(
            [command, "run", target, *options], cwd=tmp_path, capture_output=True, text=True, timeout=400, check=False
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        assert "Tested: 11" in done.stdout


def test_methods_that_a_path_takes(client):
    for path, methods in (("people", "GET, POST, DELETE"), ("gallery", "GET, PUT, DELETE"), ("about", "GET")):
        answer = client.request("PATCH", f"/api/{path}")
        assert (answer.status_code, answer.headers["allow"]) == (405, methods)
