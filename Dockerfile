# The program on an empty root file system: no shell, no package manager, no compiler.
#   docker build -t gdrive-webhook --build-arg COMMIT="$(git rev-parse HEAD)" .
ARG UID=1000
ARG GID=1000

FROM rust:1-slim-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev tzdata \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
# The dependencies, in a separate layer. They are built from the manifests and empty sources, and rebuilt only when a
# manifest changes.
COPY Cargo.toml Cargo.lock ./
COPY tests/emulator/Cargo.toml tests/emulator/
COPY .ci/build-release .ci/
RUN for path in src/build.rs src/lib.rs src/main.rs tests/emulator/src/lib.rs tests/emulator/src/main.rs \
        $(sed -n 's|^path = "\(.*\.rs\)"|\1|p' Cargo.toml) \
        $(sed -n 's|^path = "\(.*\.rs\)"|tests/emulator/\1|p' tests/emulator/Cargo.toml); do \
        mkdir -p "${path%/*}" && echo 'fn main() {}' > "$path"; \
    done \
    && .ci/build-release /target static
# The program. Its sources must be newer than the empty ones, or cargo does not build them.
COPY . .
ARG COMMIT
RUN find src -type f -exec touch {} + \
    && GDRIVE_WEBHOOK_COMMIT=$COMMIT .ci/build-release /target static > /binary \
    && install -D "$(cat /binary)" /image/usr/bin/gdrive-webhook \
    && install -D -m 644 /etc/ssl/certs/ca-certificates.crt -t /image/etc/ssl/certs \
    && mkdir -p /image/usr/share /image/etc/gdrive-webhook /image/var/lib /owned/videos /state/gdrive-webhook \
    && cp -a /usr/share/zoneinfo /image/usr/share/ \
    && rm -rf /image/usr/share/zoneinfo/posix /image/usr/share/zoneinfo/right \
    && chmod 700 /state/gdrive-webhook

FROM scratch
ARG UID
ARG GID
ARG COMMIT
LABEL org.opencontainers.image.title="gdrive-webhook" \
    org.opencontainers.image.description="Turns a Google Drive folder into an inbox" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.revision="$COMMIT"
COPY --from=build /image/ /
# Without volumes the program writes to these directories; both belong to its user.
COPY --from=build --chown=${UID}:${GID} /owned/ /
COPY --from=build --chown=${UID}:${GID} /state/ /var/lib/
# config/gdrive-webhook.service gives the reason. It also applies to the statically linked glibc.
ENV GLIBC_TUNABLES=glibc.cpu.x86_rep_movsb_threshold=1073741824
USER ${UID}:${GID}
EXPOSE 8080
# The admin address is on loopback inside the container, so the health check runs inside.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["/usr/bin/gdrive-webhook", "status", "--check"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/gdrive-webhook"]
CMD ["run"]
