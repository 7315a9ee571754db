#!/usr/bin/env bash
# look_at_model.sh <directory>
#
# Prints where the model is (archives often have one folder at their top), and one checksum over the names and contents of its files.
set -euo pipefail
shopt -s nullglob dotglob

cd -- "$1" 2>/dev/null || { echo "is no directory on this host" >&2; exit 1; }
top=(*)
if [ ${#top[@]} -eq 1 ] && [ -d "${top[0]}" ]; then cd -- "${top[0]}"; fi
[ -n "$(find . -type f -print -quit)" ] || { echo "has no files" >&2; exit 1; }
pwd
find . ! -type d -print0 | LC_ALL=C sort --zero-terminated | xargs --null sha256sum -- | sha256sum | cut --characters=-64
