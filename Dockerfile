# The program, built; nothing of the building is left in the image.
FROM rust:1-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 1000 --home-dir /state gdrive-webhook \
    && install -d -o 1000 -g 1000 /state /videos
COPY --from=build /build/target/release/gdrive-webhook /usr/local/bin/
# Why: see config/gdrive-webhook.service.
ENV GLIBC_TUNABLES=glibc.cpu.x86_rep_movsb_threshold=1073741824
USER 1000
WORKDIR /state
# The admin door is on loopback inside the container; its health is asked for from inside, too.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["gdrive-webhook", "status", "--check"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["gdrive-webhook"]
CMD ["run"]
