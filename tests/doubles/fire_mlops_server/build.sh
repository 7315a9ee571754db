#!/usr/bin/env bash
# Compile the double into a jar that Java 8 and newer run: build.sh <output.jar>
# Needs a javac of 8 or newer (JAVA_HOME, or on PATH) and python3. The same sources and compiler give the same bytes,
# so the jar can be named by its sha256 like any other artifact.
set -euo pipefail

jar=${1:?usage: build.sh <output.jar>}
sources=$(cd "$(dirname "$0")/src" && pwd)
javac=${JAVA_HOME:+$JAVA_HOME/bin/}javac
command -v "$javac" >/dev/null || { echo "build.sh: no javac; install a JDK (8 or newer) or set JAVA_HOME" >&2; exit 1; }

classes=$(mktemp -d)
trap 'rm -rf "$classes"' EXIT
case $("$javac" -version 2>&1) in
  "javac 1.8"*) level=(-source 8 -target 8) ;;
  *) level=(--release 8) ;;
esac
"$javac" "${level[@]}" -Xlint:all,-options -d "$classes" "$sources"/*.java

# Not the jar tool: it writes the time and its own version into the archive.
python3 - "$classes" "$jar" <<'PYTHON'
import os
import sys
import zipfile

classes, jar = sys.argv[1:]
entries = {'META-INF/MANIFEST.MF': b'Manifest-Version: 1.0\r\nMain-Class: FireMlopsServerDouble\r\n\r\n'}
for name in sorted(os.listdir(classes)):
    with open(os.path.join(classes, name), 'rb') as handle:
        entries[name] = handle.read()
temporary = jar + '.tmp'
with zipfile.ZipFile(temporary, 'w', zipfile.ZIP_STORED) as archive:
    for name, content in entries.items():
        archive.writestr(zipfile.ZipInfo(name), content)  # ZipInfo's time is 1980-01-01
os.replace(temporary, jar)
PYTHON
