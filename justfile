# The words that CI speaks. `just` is optional: each line can be typed as it stands.

# Everything that CI looks at before the slower proofs
check:
    bash .ci/check

# The two commands of the README
demo:
    cargo run --release -- demo

test:
    cargo test --workspace

# The proofs that install something first: Google's client and rclone against the emulator
clients:
    bash .ci/clients

# Random users, faults and crashes: MODEL_SEQUENCES=1000 just model
model:
    bash .ci/model

# The order of system calls that survives a power cut
durability:
    bash .ci/durability

# Real disks that run full and go away
disk:
    bash .ci/disk

# A thousand connections held open at each address
doors:
    bash .ci/doors

# The image and the compose file, by the README's lines, with a Docker Engine; --keep leaves the images
image *arguments:
    bash .ci/image {{arguments}}

# Crates, licences, the SBOM, and whether two builds give the same bytes
supply:
    bash .ci/supply

# The Debian package, into this directory
package:
    bash .ci/package .

# The package in a Debian that boots systemd, by the README's lines; needs root
service:
    bash .ci/service

# What strangers and Drive can send: FUZZ_SECONDS=600 just fuzz
fuzz:
    bash .ci/fuzz

# The daemon beside curl, rclone and a Python listener: just bench --rounds 5 --svg tests/bench/result.svg
bench *arguments='--rounds 3':
    bash .ci/bench {{arguments}}
