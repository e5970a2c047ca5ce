# Recipes for common tasks. `just` without a recipe lists them; you can also type the commands of a recipe yourself.

# List the recipes.
_default:
    @just --list --unsorted

# Replay the sample meeting, with a database in memory.
demo *OPTIONS:
    cargo run -- replay samples/standup.jsonl --db mem:// {{ OPTIONS }}

# Play the beginning of the sample through the plugins that use a model: `just model http://127.0.0.1:8080/v1`. The model's speed decides how long it takes.
model URL *OPTIONS:
    mkdir -p target
    printf '[[llm.model]]\nname = "model"\nbase_url = "%s"\nextra_body = { max_tokens = 128 }\n' '{{ URL }}' > target/model.toml
    cargo run -- --config target/model.toml replay samples/standup.jsonl --limit 5 --db mem:// --plugins llm-action,minutes {{ OPTIONS }}

# Run every test; `just test PACKAGE` runs the tests of one package, which is fast for all but `teammy` and `teammy-surreal`.
test PACKAGE="":
    cargo test {{ if PACKAGE == "" { "--workspace" } else { "--package " + PACKAGE } }}

# Test the backend over HTTP, which is a workspace of its own.
backend:
    cargo test --manifest-path examples/http-backend/Cargo.toml

# Build the database server for the tests that need one; without it they report that they are skipped. Takes some minutes, once.
server:
    cargo build --manifest-path tests/surrealdb-server/Cargo.toml

# Kill the program KILLS times, at random moments and in the worst places, and compare what is stored: `just torture 500`. A seed repeats a run.
torture KILLS="500" SEED="":
    CRASH_KILLS={{ KILLS }} {{ if SEED == "" { "" } else { "CRASH_SEED=" + SEED } }} cargo test --workspace --test cli -- crash:: --nocapture

# Fuzz the reader of recordings for SECONDS seconds; needs a nightly toolchain and cargo-fuzz.
fuzz SECONDS="600":
    cargo +nightly fuzz run recording -- -max_total_time={{ SECONDS }} -timeout=10 -max_len=4096

# Regenerate config/default.toml and docs/configuration.md from the code: after a change of a setting, of a plugin, or of its table.
reference:
    cargo run --quiet --package teammy-config --example defaults > config/default.toml
    cargo run --quiet -- config --reference > docs/configuration.md

# Format the workspace.
fmt:
    cargo fmt --all

# Break comments that are wider than 110 columns; needs a nightly toolchain.
wrap:
    cargo +nightly fmt --all -- --config wrap_comments=true,comment_width=110
    cargo fmt --all

# Check the workspace with clippy and rustfmt; warnings are errors.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --all-features -- -D warnings

# Build the documentation; broken links are errors.
doc *OPTIONS:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features {{ OPTIONS }}

# Check that every feature builds alone. `surrealdb` alone compiles SurrealDB again, which takes minutes.
features:
    #!/usr/bin/env bash
    set -euo pipefail
    check() { echo "-- cargo check $*"; cargo check --quiet --lib "$@"; }
    features() { sed -n '/^\[features\]/,/^\[[^f]/ s/^\([a-z0-9-]*\) = .*/\1/p' "$1" | grep -vx default; }
    check --package teammy-kernel
    for feature in $(features kernel/Cargo.toml); do check --package teammy-kernel --features "$feature"; done
    for manifest in plugins/*/Cargo.toml; do
        check --manifest-path "$manifest" --no-default-features
    done
    check --package teammy-runtime
    check --package teammy-llm --no-default-features
    check --package teammy-llm
    check --package teammy-runtime --features kill-points
    check --package teammy-surreal
    check --package teammy --no-default-features
    for feature in $(features Cargo.toml); do
        check --package teammy --no-default-features --features "$feature"
    done

# Measure everything beside the peers, each part in a process of its own, then a quiet meeting beside busy ones, slow plugins, the log and the wire format alone.
# Takes about 45 minutes. See docs/performance.md; `just bench --plots docs/performance` draws its pictures.
bench *OPTIONS:
    #!/usr/bin/env bash
    set -euo pipefail
    for part in density fanout chain latency meetings codec durable recover; do
        cargo bench --package teammy-benches --bench ratios --features surrealdb -- --only "$part" {{ OPTIONS }}
    done
    cargo bench --package teammy-benches --bench fair --features surrealdb
    cargo bench --package teammy-benches --bench slow
    cargo bench --package teammy-benches --bench llm
    cargo bench --package teammy-benches --bench service
    cargo bench --package teammy-benches --bench log --bench codec

# Measure the same figures in short runs, within 3 minutes.
bench-quick *OPTIONS:
    cargo bench --package teammy-benches --bench ratios -- --quick --rounds 3 {{ OPTIONS }}

# Check licences, advisories and sources of the dependencies; needs cargo-deny.
deny:
    cargo deny check

# Run all checks that a change must pass, and print the duration of each step.
ci:
    .ci/run
