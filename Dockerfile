# Two images from one file:
#
#   docker build --target worker --tag streamapp-worker .
#   docker build --target dashboard --tag streamapp-dashboard .
#
# docs/how-to/build-the-images.md has the other options: an index and a CA of one's own, another base image.

# The digest is that of the image for all platforms; the tag alone may get other contents.
ARG BASE_IMAGE=python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d

FROM ${BASE_IMAGE} AS installer
# For a package index of one's own. An address with a password belongs into the secret pip.conf.
ARG PIP_INDEX_URL
COPY --chmod=755 deploy/image/install /usr/local/bin/install-lock

# Each of the next stages makes one layer below /opt/streamapp: dependencies, which change with the lock, and our code.
FROM installer AS worker-packages
COPY locks/worker.lock /build/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.pem \
    install-lock /build/worker.lock

FROM installer AS dashboard-packages
COPY locks/dashboard.lock /build/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.pem \
    install-lock /build/dashboard.lock

FROM installer AS code
WORKDIR /build
COPY locks/build.lock ./
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.pem \
    install-lock build.lock
# For the compiled kernel, in this stage only. Without a compiler the worker decodes with generated Python, see
# docs/how-to/build-the-images.md: 0 leaves the kernel out, 1 makes it an error if it cannot be built.
ARG STREAMAPP_BUILD_KERNEL=
RUN if [ "$STREAMAPP_BUILD_KERNEL" != 0 ]; then \
        (apt-get update --quiet=2 && apt-get install --quiet=2 --yes --no-install-recommends gcc libc6-dev) || \
        echo "no C compiler: the kernel is not built"; \
    fi
COPY pyproject.toml README.md LICENSE ./
COPY kernel kernel
COPY schemas schemas
COPY streamapp streamapp
COPY dashboard dashboard
RUN /opt/streamapp/bin/python -m hatchling build --target wheel && \
    rm -rf /opt/streamapp && python -m venv --without-pip /opt/streamapp && \
    pip --python /opt/streamapp/bin/python install --quiet --no-index --no-deps dist/*.whl

FROM ${BASE_IMAGE} AS base
RUN pip uninstall --yes --quiet --root-user-action=ignore setuptools wheel pip && \
    rm -rf /usr/local/lib/python3*/ensurepip /root/.cache && \
    groupadd --gid 10001 streamapp && \
    useradd --uid 10001 --gid 10001 --create-home --shell /usr/sbin/nologin streamapp
COPY --chmod=755 deploy/image/healthcheck.py /usr/local/bin/healthcheck
ENV PATH=/opt/streamapp/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A number, so that Kubernetes can check runAsNonRoot.
USER 10001:10001
WORKDIR /home/streamapp
STOPSIGNAL SIGTERM
# The kernel discards a SIGTERM for the first process of a container if this process has no handler yet. A blocked
# signal waits instead; `streamapp` unblocks it as soon as it has a handler. So no init is needed.
ENTRYPOINT ["env", "--block-signal=TERM", "--block-signal=INT"]
HEALTHCHECK --interval=10s --timeout=5s --retries=3 --start-period=120s --start-interval=2s CMD ["healthcheck"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

FROM base AS dashboard
ENV STREAMAPP_IMAGE=dashboard
LABEL org.opencontainers.image.title="streamapp-dashboard" \
      org.opencontainers.image.description="The dashboard of streamapp: reads MongoDB and serves a page."
COPY --from=dashboard-packages /opt/streamapp /opt/streamapp
COPY --from=code /opt/streamapp /opt/streamapp
CMD ["streamapp", "dashboard"]

FROM base AS worker
LABEL org.opencontainers.image.title="streamapp-worker" \
      org.opencontainers.image.description="The worker of streamapp and its commands: reads Kafka, writes MongoDB."
COPY --from=worker-packages /opt/streamapp /opt/streamapp
COPY --from=code /opt/streamapp /opt/streamapp
CMD ["streamapp", "worker"]
