#!/usr/bin/env -S uv run --script
# /// script
# dependencies = ["nox>=2025.2.9"]
# ///
"""What the workflows run, session by session: `nox -s lint types tests docs`. CONTRIBUTING.md says more."""

from __future__ import annotations

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"

PYPROJECT = nox.project.load_toml("pyproject.toml")
QUICK = {"OMP_NUM_THREADS": "1"}


def install(session: nox.Session) -> None:
    """Installs the package in place, with what its tests need."""
    session.install("pip>=25.1")
    session.install("-c", "constraints.txt", "-e", ".", "--group", "dev")


@nox.session
def lint(session: nox.Session) -> None:
    """ruff, clang-format and cython-lint."""
    session.install("pre-commit")
    session.run("pre-commit", "run", "--all-files", "--show-diff-on-failure", *session.posargs)


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict."""
    install(session)
    session.run("mypy", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """The quick tests; `nox -s tests -- -m slow` the others."""
    install(session)
    session.run("pytest", *session.posargs, env=QUICK)


@nox.session(default=False)
def coverage(session: nox.Session) -> None:
    """The quick tests with coverage of Python (coverage.xml) and of C (coverage-c.txt; takes gcc)."""
    install(session)
    session.install("pytest-cov", "gcovr", "setuptools", "Cython")
    counted = {"CFLAGS": "--coverage -fprofile-update=atomic", "LDFLAGS": "--coverage"}
    session.run("python", "setup.py", "-q", "build_ext", "--inplace", "--force", env=counted)
    options = ["--cov", "--cov-report=term:skip-covered", "--cov-report=xml"]
    session.run("pytest", *options, *session.posargs, env=QUICK)
    session.run("gcovr", "--filter", "csrc/", "--exclude", "build/", "--txt", "coverage-c.txt", "--print-summary")
    session.run("python", "setup.py", "-q", "build_ext", "--inplace", "--force")


@nox.session
def docs(session: nox.Session) -> None:
    """Builds the site into site/, strictly; `nox -s docs -- serve` shows it while you write."""
    session.install("-e", ".", *nox.project.dependency_groups(PYPROJECT, "docs"))
    if session.posargs:
        session.run("mkdocs", *session.posargs)
    else:
        session.run("mkdocs", "build", "--strict")


@nox.session(default=False)
def clusters(session: nox.Session) -> None:
    """The tests of Ray, of Spark (takes Java) and of an S3 server, which are skipped elsewhere."""
    install(session)
    session.install("ray[data]>=2.51", "pyspark>=4.0", "pandas>=2.2", "moto[server]>=5.0", "s3fs>=2024.2")
    files = ["tests/archive/test_on_ray.py", "tests/archive/test_remote.py", "tests/docs/test_spark.py"]
    session.run("pytest", "-m", "slow or not slow", *files, *session.posargs, env=QUICK)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Times of the kernels by SIMD level, and of a detection."""
    install(session)
    session.run("pytest", "benchmarks", *session.posargs)
    session.run("python", "-m", "benchmarks", "fps")


@nox.session(default=False)
def sanitize(session: nox.Session) -> None:
    """The C core under the address, undefined behaviour and thread sanitizers."""
    install(session)
    session.run("pytest", "tests/sanitize", "-m", "slow or not slow", *session.posargs)


if __name__ == "__main__":
    nox.main()
