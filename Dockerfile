# clser-bench, with PyTorch as the package index serves it. Build: docker build -t clser-bench .
# Run: docker run --rm -v "$PWD":/data -w /data clser-bench run --suite demo
FROM python:3.11-slim-bookworm

# Debian keeps no earlier version of a package of a release, so none is pinned.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libsndfile1 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/clser-bench
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY clser_bench clser_bench
COPY docs docs
COPY methods methods
COPY results results
COPY tasks tasks
RUN pip install --no-cache-dir --constraint constraints.txt '.[demo,opensmile]'

ENV CLSER_CACHE=/cache
VOLUME /cache
ENTRYPOINT ["clser-bench"]
CMD ["--help"]
