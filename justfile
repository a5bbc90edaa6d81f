# Builds and runs the server: http://127.0.0.1:8080/files/, storing into ./data.
run *arguments:
    cargo run --release -- {{arguments}}

# All tests that need no network.
test:
    cargo test --workspace

# Interruptions and crashes in earnest: requests cut at any byte, a server killed under load. `just soak 7` repeats 7.
soak seed=`date +%s`:
    WHARF_SOAK_SEED={{seed}} WHARF_SOAK_CUTS=500 WHARF_SOAK_KILLS=50 cargo test --release --test cuts --test kills -- --nocapture

# The tests of the S3 store against Garage, a real S3; builds it once, which takes minutes. `just garage kills` runs some.
garage *tests:
    tests/garage.sh --install
    tests/garage.sh cargo test --workspace --test on_s3 --test s3_handover -- {{tests}}

# Uploads with tus-js-client, tuspy and curl; installs them from npm and PyPI once.
clients:
    cargo build --release
    tests/clients/run.sh

# Thousands of uploads that stall at once: their memory, and the latency of others. --help lists what can be set.
bench-stalled *arguments:
    cargo build --release
    cargo run --release -p wharf-benches -- stalled {{arguments}}

# Exactly what CI runs.
ci:
    .ci/run
