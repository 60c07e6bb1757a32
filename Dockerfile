# The local page of cascade as a container: docs/app.md says how to run it. No compiler and no pip are in the image.

FROM python:3.13-slim AS build
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
 && python -m venv --without-pip /app \
 && pip --python /app/bin/python install --no-cache-dir "$(echo /wheels/*.whl)[app]"

FROM python:3.13-slim
COPY --from=build /app /app
ENV PATH=/app/bin:$PATH PYTHONDONTWRITEBYTECODE=1
# nobody, who owns no file: nothing is written, and the root file system can be read-only
USER 65534:65534
EXPOSE 8765
HEALTHCHECK --start-period=30s --interval=30s --timeout=5s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8765/health', timeout=4)"]
ENTRYPOINT ["cascade", "app", "--host", "0.0.0.0"]
