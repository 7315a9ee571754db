#!/usr/bin/env bash
# Pack a Python prefix of this computer into an archive that runs at any place on another host: build_python_archive.sh <prefix> <output.tar.gz>
#
# The shared libraries that a minimal Debian lacks (OpenSSL, SQLite, libffi, ...) go into the archive; libc does not. Tests, byte code, static
# libraries and Tk are left out. The same prefix gives the same bytes, so the archive can be named by its sha256.
set -euo pipefail

prefix=$(realpath "${1:?usage: build_python_archive.sh <prefix> <output.tar.gz>}")
output=$(realpath -m "${2:?usage: build_python_archive.sh <prefix> <output.tar.gz>}")
python=$(find "$prefix/bin" -regex '.*/python3\.[0-9]+' -printf '%f' -quit)
[ -n "$python" ] || { echo "build_python_archive.sh: $prefix/bin has no python3.x; name the prefix of a Python, such as ~/.pyenv/versions/3.7.16" >&2; exit 1; }
command -v patchelf >/dev/null || { apt-get -qq update; apt-get -qq install -y --no-install-recommends patchelf >/dev/null; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/python
mkdir -p "$root"
tar -C "$prefix" --exclude=__pycache__ --exclude='*.a' --exclude="lib/$python/test" --exclude="lib/$python/*/test" --exclude="lib/$python/*/tests" \
  --exclude="lib/$python/site-packages" --exclude=tkinter --exclude=idlelib --exclude='_tkinter*.so' --exclude=share --exclude='bin/idle*' \
  --exclude='bin/*-gdb.py' --exclude='bin/pip*' --exclude='bin/easy_install*' --exclude='bin/2to3*' \
  -cf - bin lib include | tar -C "$root" -xf -

# Libraries of the distribution that the interpreter and its modules need, less what every glibc system has.
system='linux-vdso|ld-linux|lib(c|m|dl|rt|util|pthread|resolv|nsl)\.so'
find "$root/bin/$python" "$root/lib" -type f \( -name "$python" -o -name '*.so*' \) -print0 | xargs -0 ldd 2>/dev/null \
  | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u | grep -vE "/($system)|^$prefix/" \
  | while read -r library; do cp -L "$library" "$root/lib/"; done

patchelf --set-rpath '$ORIGIN/../lib' "$root/bin/$python"
find "$root/lib" -maxdepth 1 -type f -name '*.so*' -exec patchelf --set-rpath '$ORIGIN' {} +
find "$root/lib/$python/lib-dynload" -name '*.so' -exec patchelf --set-rpath '$ORIGIN/../..' {} +

tar -C "$work" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=go-w,a+rX -cf - python | gzip -n -6 > "$output.part"
mv "$output.part" "$output"
