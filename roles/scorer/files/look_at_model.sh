#!/usr/bin/env bash
# look_at_model.sh <directory>
#
# Prints where the model is (archives often have one folder at their top), one checksum over the names and contents of its files, and the Spark that it was
# made with: as MLflow's description says, or Spark itself in each part of a model. Empty if neither does.
set -euo pipefail
shopt -s nullglob dotglob

cd -- "$1" 2>/dev/null || { echo "is no directory on this host" >&2; exit 1; }
top=(*)
if [ ${#top[@]} -eq 1 ] && [ -d "${top[0]}" ]; then cd -- "${top[0]}"; fi
[ -n "$(find . -type f -print -quit)" ] || { echo "has no files" >&2; exit 1; }
pwd
find . ! -type d -print0 | LC_ALL=C sort --zero-terminated | xargs --null sha256sum -- | sha256sum | cut --characters=-64
{
  [ ! -f MLmodel ] || sed -n 's/^ *pyspark_version: *//p' MLmodel
  find . -path '*/metadata/part-*' -type f -exec sed -n 's/.*"sparkVersion" *: *"\([0-9.]*\).*/\1/p' {} +
} | tr -d "'\"" | LC_ALL=C sort --version-sort | tail --lines=1
