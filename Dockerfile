# The image holds one static binary and nothing else.
#
# This file builds it where the builder's base image can be pulled. examples/compose/up makes the same image without any
# registry: it compiles outside and takes the last stage only.

FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends musl-tools && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN rustup target add x86_64-unknown-linux-musl \
    && cargo build --release --locked --target x86_64-unknown-linux-musl --package pelago \
    && examples/compose/layout target/x86_64-unknown-linux-musl/release/pelago /out

FROM scratch
LABEL org.opencontainers.image.title="pelago" \
      org.opencontainers.image.description="Two-tier membership for many datacenters" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /out/pelago /pelago
# Owned by the user below, so that volumes mounted there are: a new volume takes its owner from the image.
COPY --from=build --chown=65532:65532 /out/owned/ /
USER 65532:65532
ENTRYPOINT ["/pelago"]
CMD ["--help"]
