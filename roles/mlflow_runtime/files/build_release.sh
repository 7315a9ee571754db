# build_release.sh <release> <recipe> <python> <uv|pip|SHA-256> <modules to import, comma-separated> <link to the live release> <a uv, or nothing> <archive> <folders>  < settings
#
# Makes one release: a venv with exactly what the lock names, proven, and marked as complete by its last command. What is not marked was
# interrupted, and is thrown away: at the end of this program, or by the next one if this one is killed. Settings of the installer
# (NAME=value lines) come by stdin: some are secret. With a SHA-256 it is what another host has made, in that archive. Below the folders
# lie files that name releases which are still wanted.
set -euo pipefail
umask 022

release=$1 recipe=$2 python=$3 installer=$4 imports=$5 link=$6 uv=$7 archive=$8
shift 8
releases=$(dirname "$release") recipes=$(dirname "$recipe")
while read -r setting; do
  [ -z "$setting" ] || export "${setting?}"
done

# Builds take turns: one that outlived the run that started it is waited for, not disturbed.
exec 9> "$releases/.lock"
flock --timeout 1800 9 || { echo "another build has been running for half an hour: see which process holds $releases/.lock" >&2; exit 1; }
[ ! -e "$release/.complete" ] || exit 0
# Unless a cache is kept: one on the same file system as the release, so that files are linked, not copied.
scratch=$releases/.cache
rm -rf "$release" "$scratch"
mkdir "$scratch"
# What programs leave in their temporary folder goes, too: pip its list of authorities, when a venv is made.
TMPDIR=$(mktemp --directory --tmpdir mlflow-release.XXXXXX)
export TMPDIR
tidy() {
  wait
  rm -rf "$scratch" "$TMPDIR" "$archive"
  [ -e "$release/.complete" ] || rm -rf "$release"
}
trap tidy EXIT
trap 'exit 143' HUP INT TERM
export UV_CACHE_DIR=${UV_CACHE_DIR:-$scratch} PIP_CACHE_DIR=${PIP_CACHE_DIR:-$scratch} PIP_DISABLE_PIP_VERSION_CHECK=1

case $installer in uv | pip) "$python" -m venv "$release" ;; esac
if [ "$installer" = uv ] && [ -z "$uv" ]; then
  # It comes from where all packages come from. What Python its package asks for does not matter: it is a program without one.
  uv=$scratch/uv/bin/uv
  if said=$("$release/bin/python" -m pip install --quiet --require-hashes --no-deps --only-binary :all: --ignore-requires-python --no-compile \
    --target "$scratch/uv" --requirement "$recipe/uv.txt" 2>&1 && "$uv" --version 2>&1); then
    :
  elif [[ $said == *'DO NOT MATCH THE HASHES'* ]]; then
    echo "$said" >&2
    exit 1
  else
    echo "There is no uv, so pip installs, which takes longer: ${said##*$'\n'}"
    installer=pip
  fi
fi
case $installer in
  uv)
    # What is built from source is packed and unpacked again at once: compressing it takes longer than all the rest of the building.
    printf '[bdist_wheel]\ncompression = stored\n' > "$scratch/build.cfg"
    # The hashes say what a file has to be, so one that was fetched, and what was built from it, stays good. Not every index says so itself: of some,
    # each file would be fetched and built anew. Where no index is set it is pip's own. A URL may carry a login.
    (umask 077; "$release/bin/python" - > "$scratch/uv.toml" <<'INDEXES'
import json, os
from pip._internal.models.index import PyPI

urls = os.environ.get("UV_INDEX", "").split() + [os.environ.get("UV_DEFAULT_INDEX") or PyPI.simple_url]
for url in urls:
    print("[[index]]\nurl = %s\ndefault = %s\ncache-control = {files = 'max-age=31536000, immutable'}\n" % (json.dumps(url), "true" if url is urls[-1] else "false"))
INDEXES
    )
    # All indexes are equal, as they are for pip; the hashes say what may come from them.
    env --unset=UV_INDEX --unset=UV_DEFAULT_INDEX DIST_EXTRA_CONFIG="$scratch/build.cfg" \
      "$uv" --config-file "$scratch/uv.toml" pip install --quiet --require-hashes --compile-bytecode --python "$release/bin/python" \
      --index-strategy unsafe-best-match --build-constraints "$recipe/build-constraints.txt" --requirement "$recipe/requirements.txt"
    rm -f "$release/.lock" ;;
  pip)
    # The setuptools that came with the venv is old enough to build what comes as source.
    "$release/bin/python" -m pip install --quiet --require-hashes --requirement "$recipe/requirements.txt" ;;
  *)
    sha256sum --check --status <<<"$installer  $archive" || { echo "the archive of the release is not what the other host has packed" >&2; exit 1; }
    mkdir "$release"
    case $archive in
      *.zst) zstd --quiet --decompress --stdout "$archive" ;;
      *) gzip --decompress --stdout "$archive" ;;
    esac | tar --extract --directory "$release" --no-same-owner ;;
esac

# At the same time: the cache takes as long to remove as the packages to prove.
rm -rf "$scratch" &
removed=$!
"$release/bin/python" -m pip check &
checked=$!
"$release/bin/python" -c "import $imports"
"$release/bin/gunicorn" --version
wait "$checked"
wait "$removed"

# The live release stays for a rollback, and so does one that a served model still runs with, that is beside it for others, or that rollback.yml would go
# back to; what came before goes. Its mark goes first: half a release must not look like one.
live=$(readlink -f "$link" "$(dirname "$releases")"/stacks/*/current || true)
for old in "$releases"/*/; do
  old=${old%/}
  [ "$old" = "$release" ] || grep --quiet --line-regexp --fixed-strings "$old" <<<"$live" ||
    grep --recursive --quiet --no-messages --fixed-strings --include='mlflow-model@*.service' --include=upgraded.json -e "=$old/" -e "\"$old\"" "$@" ||
    { rm -f "$old/.complete"; rm -rf "$old" "$recipes/${old##*/}"; }
done
sync -f "$release"
touch "$release/.complete"
