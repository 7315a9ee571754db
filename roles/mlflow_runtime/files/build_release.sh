#!/usr/bin/env bash
# build_release.sh <release> <recipe> <python> <uv|pip> <modules to import, comma-separated>
#
# Makes one release: a venv with exactly what the lock names, proven, and marked as complete by its last command. What is not marked was
# interrupted, and is thrown away. Builds take turns: one that outlived the run that started it is waited for, not disturbed.
set -euo pipefail
umask 022

release=$1 recipe=$2 python=$(readlink -f "$3") installer=$4 imports=$5
releases=$(dirname "$release")

exec 9> "$releases/.lock"
flock 9
[ ! -e "$release/.complete" ] || exit 0
# On the same file system as the release, so that files are linked, not copied.
cache=$releases/.cache
rm -rf "$release" "$cache"

"$python" -m venv "$release"
case $installer in
  uv)
    "$(dirname "$recipe")/uv" --no-config --cache-dir "$cache" pip install --quiet --require-hashes --compile-bytecode --python "$release/bin/python" \
      --build-constraints "$recipe/build-constraints.txt" --requirement "$recipe/requirements.txt" ;;
  pip)
    # The setuptools that came with the venv is old enough to build what comes as source.
    "$release/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --require-hashes --requirement "$recipe/requirements.txt" ;;
esac

"$release/bin/python" -m pip --disable-pip-version-check check
"$release/bin/python" -c "import $imports"
"$release/bin/gunicorn" --version

rm -rf "$cache"

# The live release stays for a rollback; what came before it goes.
current=$(readlink -f "$releases/../current" || true)
for old in "$releases"/*/; do
  [ "${old%/}" = "$release" ] || [ "${old%/}" = "$current" ] || rm -rf "$old"
done
sync -f "$release"
touch "$release/.complete"
