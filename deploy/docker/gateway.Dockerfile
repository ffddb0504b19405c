# The image of sluice-gateway: one static program, no shell, not root. deploy/docker/build builds all images.
FROM rust:1.95-alpine AS build
RUN apk add --no-cache build-base cmake perl linux-headers
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --package sluice-gateway --bin sluice-gateway && \
    cp target/release/sluice-gateway /sluice-gateway

FROM scratch
# What BackendTLSPolicy calls the system's certificates.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /sluice-gateway /sluice-gateway
USER 65532:65532
ENTRYPOINT ["/sluice-gateway"]
