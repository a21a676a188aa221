# One Dockerfile for the four images that docker-compose.yml builds:
#   run        service, simulator, recorder
#   load       Locust
#   notebooks  JupyterLab over `analysis`: what is needed to look at it
#   collector  the published OpenTelemetry Collector plus a wget to ask it how it is
ARG PYTHON=python:3.11.17-slim-trixie

FROM ${PYTHON} AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv --without-pip /venv
WORKDIR /build

FROM packages AS run-packages
COPY deploy/requirements-run.lock .
RUN python -m pip --python /venv/bin/python install \
      --require-hashes --only-binary :all: --requirement requirements-run.lock

FROM packages AS load-packages
COPY deploy/requirements-load.lock .
RUN python -m pip --python /venv/bin/python install \
      --require-hashes --only-binary :all: --requirement requirements-load.lock

FROM packages AS notebooks-packages
COPY deploy/requirements-notebooks.lock .
RUN python -m pip --python /venv/bin/python install \
      --require-hashes --only-binary :all: --requirement requirements-notebooks.lock

# What our own images share: no pip in the environment, no root, nothing written but to /tmp.
FROM ${PYTHON} AS base
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin worthit \
 && install --directory --owner worthit --group worthit /recorded
ENV PATH=/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp
WORKDIR /app

FROM base AS run
COPY --from=run-packages /venv /venv
COPY worthit worthit
COPY reference_service reference_service
USER worthit
CMD ["python", "-m", "reference_service", "--host", "0.0.0.0", "--port", "8000"]

FROM base AS load
COPY --from=load-packages /venv /venv
COPY worthit worthit
COPY analysis analysis
COPY loadtests loadtests
# Locust reads its settings from it.
COPY pyproject.toml .
USER worthit
CMD ["locust", "-f", "loadtests"]

FROM base AS notebooks
COPY --from=notebooks-packages /venv /venv
COPY worthit worthit
COPY analysis analysis
COPY notebooks notebooks
RUN install --directory --owner worthit --group worthit /app/work
ENV NUMBA_CACHE_DIR=/tmp MPLCONFIGDIR=/tmp
USER worthit
CMD ["jupyter", "lab", "--ip", "0.0.0.0", "--port", "8888", "--no-browser"]

FROM busybox:1.37.0-musl AS busybox

FROM otel/opentelemetry-collector-contrib:0.162.0 AS collector
# busybox is every tool in one static file; the name it is called by chooses the tool.
COPY --from=busybox /bin/busybox /bin/wget
