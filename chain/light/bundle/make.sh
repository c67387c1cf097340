#!/usr/bin/env bash
# Makes chain/light/static/verify.bundle.mjs: one file for browsers, so that a page needs no build
# step and loads nothing from elsewhere.  Needs npm.  The same versions give the same bytes.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here/package.json" "$here/entry.mjs" "$here"/../../../examples/{page,verify}.mjs "$work"
cd "$work"
npm install --silent --no-audit --no-fund
{
    echo "// Made by chain/light/bundle/make.sh from examples/{page,verify}.mjs and @noble/curves; do not edit."
    echo "//"
    sed 's|^|// |; s| *$||' node_modules/@noble/curves/LICENSE
    node_modules/.bin/esbuild entry.mjs --bundle --format=esm --target=es2022 \
        --legal-comments=inline --log-level=warning
} >"$here/../static/verify.bundle.mjs"
