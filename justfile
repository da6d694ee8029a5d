# The commands of CI. `just` is optional: each line also works without it.

# The fast checks of CI
check:
    bash .ci/check

# The two commands of the README
demo:
    cargo run --release -- demo

test:
    cargo test --workspace

# Google's client, gdrive_fsspec, rclone and google-drive3 against the emulator; installs them first
clients:
    bash .ci/clients

# The login in Debian's Chromium; installs it first
browser:
    bash .ci/browser

# Random users, faults and crashes: MODEL_SEQUENCES=1000 just model
model:
    bash .ci/model

# Change the code and count what the tests notice; takes an hour or more: just mutants retry channel, just mutants sampled --seed 7
mutants *arguments:
    bash .ci/mutants {{arguments}}

# The order of system calls that survives a power failure
durability:
    bash .ci/durability

# Real file systems, and disks that become full or disappear: just disk ten-exfat
disk *parts:
    bash .ci/disk {{parts}}

# A thousand connections held open at each address
doors:
    bash .ci/doors

# The image and the compose file, with the README's commands and a Docker Engine; --keep keeps the images
image *arguments:
    bash .ci/image {{arguments}}

# Crates, licences, the SBOM, and whether two builds give the same bytes
supply:
    bash .ci/supply

# Build the Debian package into this directory
package:
    bash .ci/package .

# The package in a Debian that boots systemd, with the README's commands; needs root
service:
    bash .ci/service

# Fuzz everything that strangers and Drive can send: FUZZ_SECONDS=600 just fuzz
fuzz:
    bash .ci/fuzz

# Compare the daemon with curl, rclone and a Python listener: just bench --rounds 5 --svg tests/bench/result.svg
bench *arguments='--rounds 3':
    bash .ci/bench {{arguments}}
