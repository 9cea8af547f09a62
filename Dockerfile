# The image of all programs: no shell, no package manager, a user without rights; `docker run IMAGE stitch-processor run`.
#
#   deploy/image                          # compiles, and tags stitch:VERSION
#
# The programs are process 1 and handle its signals: allow 30 s for a stop. They write to /var/lib/stitch alone, so the
# root file system may be read-only.

# `compiled` compiles here. `prebuilt` takes a context that deploy/lib/image-root has made, of programs that were compiled
# on the same machine.
ARG PROGRAMS=compiled
ARG RUST=rust:1.95-bookworm

# hadolint ignore=DL3006
FROM ${RUST} AS compiled
ARG VERSION=unknown
WORKDIR /src
COPY . .
RUN cargo build --locked --release --bins \
    --package stitch-processor --package stitch-restorator --package stitch-api --package stitch-archive --package stitch-totals --package stitch-batch-program \
    && deploy/lib/sboms /sboms "$VERSION" && deploy/lib/image-root /out target/release /sboms

FROM scratch AS prebuilt
COPY . /out

# hadolint ignore=DL3006
FROM ${PROGRAMS} AS programs

FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Stitch" \
    org.opencontainers.image.description="Cassandra counters you can audit and repair while they count" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
COPY --from=programs /out/root /
# Only a folder that does not exist gets the owner; a new volume there takes it over.
COPY --from=programs --chown=65532:65532 /out/workspace /var/lib/stitch
ENV PATH=/usr/bin STITCH_CONFIG=/etc/stitch/stitch.toml SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532:65532
WORKDIR /var/lib/stitch
EXPOSE 8080 9100
CMD ["stitch-processor", "run"]
