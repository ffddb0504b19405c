# The image of sluice-controller: one static program, no shell, not root. deploy/docker/build builds all images.
FROM rust:1.95-alpine AS build
RUN apk add --no-cache build-base cmake perl linux-headers
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --package sluice-controller --bin sluice-controller && \
    cp target/release/sluice-controller /sluice-controller

FROM scratch
COPY --from=build /sluice-controller /sluice-controller
USER 65532:65532
ENTRYPOINT ["/sluice-controller"]
