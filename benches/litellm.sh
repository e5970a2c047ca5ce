#!/usr/bin/env bash
# Installs LiteLLM's proxy, a peer in the bench `llm`, into a virtual environment, and prints what to set for the bench:
# `benches/litellm.sh [DIRECTORY]`; by default `target/litellm`. Needs Python 3.10 to 3.13, and takes 800 MB.
set -euo pipefail
directory=${1:-$(dirname "$0")/../target/litellm}
python3 -m venv "$directory"
"$directory/bin/pip" install --quiet 'litellm[proxy]==1.108.7'
echo "LITELLM=$(cd "$directory" && pwd)/bin/litellm"
