#!/usr/bin/env bash
# Writes requirements.lock and requirements-dev.lock: exact versions with hashes, one file for all
# supported Python versions, and nothing about where the packages were fetched from.
# Needs `uv` on PATH or in UV=...; it is not part of the environment that it pins.
set -euo pipefail
cd "$(dirname "$0")/.."
readonly uv="${UV:-uv}"
readonly compile=("$uv" pip compile --quiet --universal --generate-hashes --no-header
    --no-emit-index-url --no-emit-find-links --no-annotate --python-version 3.11 "$@")
"${compile[@]}" pyproject.toml --group pyproject.toml:build -o requirements.lock
"${compile[@]}" pyproject.toml --group pyproject.toml:dev -o requirements-dev.lock
