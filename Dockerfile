# The image of Weir: three programs, the libraries they load, nothing else. `docker build -t weir .`
FROM docker.io/library/rust:1.95-bookworm AS source
RUN apt-get update && apt-get install -y --no-install-recommends cmake libssl-dev pkg-config zlib1g-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked --workspace --bin weir --bin weir-worker \
 && tests/rig/image/tree.sh /tree target/release/weir target/release/weir-worker

# The tree alone. Where no base image can be pulled, a tree made outside stands in for this stage:
# `buildah bud --target runtime --build-context builder=TREE` (tests/rig/image.sh does so).
FROM scratch AS builder
COPY --from=source /tree /

FROM scratch AS runtime
COPY --from=builder / /
ENV PATH=/usr/local/bin
USER 65532:65532
ENTRYPOINT ["weir"]
