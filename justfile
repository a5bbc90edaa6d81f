# Builds and runs the server: http://127.0.0.1:8080/files/, storing into ./data.
run *arguments:
    cargo run --release -- {{arguments}}

# All tests that need no network.
test:
    cargo test --workspace

# Interruptions and crashes in earnest: requests cut at any byte, a server killed under load. `just soak 7` repeats 7.
soak seed=`date +%s`:
    WHARF_SOAK_SEED={{seed}} WHARF_SOAK_CUTS=500 WHARF_SOAK_KILLS=50 cargo test --release --workspace --test cuts --test kills -- --nocapture

# The same into S3: uploads over a service that fails, and a server killed under load, without faults of S3 and with some.
soak-s3 seed=`date +%s`:
    WHARF_SOAK_SEED={{seed}} WHARF_SOAK_UPLOADS=300 cargo test --release --test s3_soak -- --nocapture
    WHARF_SOAK_SEED={{seed}} WHARF_SOAK_KILLS=30 cargo test --release --test on_s3 kills -- --nocapture
    WHARF_SOAK_SEED={{seed}} WHARF_SOAK_KILLS=30 WHARF_SOAK_FAULTS=3 cargo test --release --test kills -- --nocapture

# The tests of the S3 store against Garage, a real S3; builds it once, which takes minutes. `just garage kills` runs some.
garage *tests:
    tests/garage.sh --install
    tests/garage.sh cargo test --workspace --test on_s3 --test s3_handover -- {{tests}}

# Uploads with tus-js-client, tuspy and curl; installs them from npm and PyPI once.
clients:
    cargo build --release
    tests/clients/run.sh

# The doctor on another tus server, from npm, behind nginx. Its other tests: `cargo test --workspace --test doctor`.
doctor:
    cargo build --release
    tests/doctor/run.sh

# The upload page in Chromium; installs playwright-core from npm once, and Chromium by apt when it is missing.
browser:
    cargo build --release
    tests/browser/run.sh

# wharf beside a floor, and beside tusd, rustus, @tus/server and nginx where they are (benches/peers.sh), under the same loads:
# a report with plots in target/bench-report. `just bench --help` lists what can be set.
bench *arguments:
    cargo build --release --workspace --bins
    target/release/wharf-benches compare {{arguments}}

# Thousands of uploads that stall at once: their memory, and the latency of others. --help lists what can be set.
bench-stalled *arguments:
    cargo build --release -p wharf -p wharf-benches
    target/release/wharf-benches stalled {{arguments}}

# What a byte costs while 100, 1,000 and 10,000 uploads are active, beside what it costs with one; and the floor's. Needs 20,200
# open files (ulimit -Hn) for the last.
bench-scaling *arguments:
    cargo build --release -p wharf -p wharf-benches
    target/release/wharf-benches scaling {{arguments}}

# A million finished uploads, which take 9 GB of a disk and 2 million inodes meanwhile: how soon wharf starts, what HEAD costs.
bench-finished *arguments:
    cargo build --release -p wharf -p wharf-benches
    target/release/wharf-benches finished-store {{arguments}}

# What each level of durability costs on the disk beneath target/, and how many syncs it needs, by strace.
bench-durability *arguments:
    cargo build --release -p wharf -p wharf-benches
    target/release/wharf-benches durability {{arguments}}

# The write of one upload stalls for a second: what HEAD and PATCH of the others feel of it.
bench-disk-stall *arguments:
    cargo build --release --features faults
    cp target/release/wharf target/release/wharf-faults
    cargo build --release -p wharf -p wharf-benches
    target/release/wharf-benches disk-stall {{arguments}}

# Single parts by themselves: mailboxes, the state machine, parsers, .info, a log line. `just micro mailbox` runs some.
micro *arguments:
    cargo bench -p wharf-micro -- {{arguments}}

# What meters cost, in user instructions of small uploads, by callgrind (benches/valgrind.sh has it) and Python. 2 % are allowed.
cost-of-meters uploads='500':
    cargo build --release --no-default-features --target-dir target/metered
    cargo build --release --no-default-features --features unmetered --target-dir target/unmetered
    python3 benches/cost_of_meters.py target/metered/release/wharf target/unmetered/release/wharf {{uploads}}

# How many user instructions requests cost, beside what benches/counts.toml remembers. `just counts --update` writes that.
counts *arguments:
    cargo build --release -p wharf -p wharf-benches
    python3 benches/counts.py {{arguments}}

# 64 uploads of 256 MiB at once into a slow S3: wharf's peak memory, and whether those that stall hold up the others.
bench-s3-memory *arguments:
    cargo build --release --workspace --bins
    target/release/wharf-benches s3-memory {{arguments}}

# Processor time for each GiB that goes to S3, beside that of a bare S3 client.
bench-s3-throughput *arguments:
    cargo build --release --workspace --bins
    target/release/wharf-benches s3-throughput {{arguments}}

# How soon the admin listener answers while 2,000 uploads run.
bench-admin *arguments:
    cargo build --release
    benches/admin_latency.py {{arguments}}

# Exactly what CI runs.
ci:
    .ci/run

# What takes longer than CI: soaks on S3, the other client of S3, memory, a browser, promtool and schemathesis.
more:
    .ci/more
