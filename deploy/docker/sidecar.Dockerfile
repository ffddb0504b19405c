# The image of sluice-sidecar: the program, and nft and iptables, with which its init container captures a pod's traffic.
# deploy/docker/build builds all images.
# The patch of rustc is said, since deploy/link has a profile for one alone.
FROM rust:1.95.0-alpine AS build
RUN apk add --no-cache build-base cmake perl linux-headers lld
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    deploy/link/build && \
    cp "target/$(rustc -vV | sed -n 's/^host: //p')/sidecar/sluice-sidecar" /sluice-sidecar

FROM alpine:3.22
RUN apk add --no-cache nftables iptables iptables-legacy
COPY --from=build /sluice-sidecar /sluice-sidecar
# Pods say the user of each container; this is that of the sidecar itself.
USER 1337:1337
ENTRYPOINT ["/sluice-sidecar"]
