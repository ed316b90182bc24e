#!/usr/bin/env bash
# Known holes and licences of the packages that run, and an SBOM of them; results in build/.
#
#   ./scripts/audit.sh            the packages of requirements.txt
#
# Ends with status 1 if a package has a known hole or a licence that is not in the list below, with
# 4 if nobody could be asked about holes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly PYTHON=${PYTHON:-.venv/bin/python}
# Licences that let an MIT program be handed on with these packages beside it.
readonly ALLOWED='MIT;BSD;Apache;ISC;PSF;Python Software Foundation;MPL;Mozilla;0BSD;Zlib;CC0;Unlicense;HPND;LGPL;GNU Lesser;Zope'

mkdir -p build
names=$(sed -E 's/[[:space:]]*(==|;).*//' requirements.txt | grep -v '^#' | grep .)

echo "licences:"
# shellcheck disable=SC2086  # one word per package is what is wanted
"$PYTHON" -m piplicenses --from=mixed --packages $names --format=csv \
    > build/licences.txt
# TA-Lib says nothing in its metadata; its licence file is the BSD licence.
# shellcheck disable=SC2086
"$PYTHON" -m piplicenses --from=mixed --packages $names --partial-match --allow-only="$ALLOWED" \
    --ignore-packages TA-Lib --format=csv > /dev/null
echo "  all allowed; written to build/licences.txt"

echo "SBOM:"
"$PYTHON" -m cyclonedx_py requirements requirements.txt --output-file build/sbom.json
echo "  written to build/sbom.json (CycloneDX)"

echo "known holes:"
status=0
"$PYTHON" -m pip_audit --requirement requirements.txt --no-deps --disable-pip \
    --progress-spinner off > build/audit.txt 2>&1 || status=$?
unaudited=$(grep -c 'could not be audited' build/audit.txt || true)
if [ "$unaudited" -gt 0 ]; then
    echo "  NOT CHECKED: the service that knows of holes does not answer ($unaudited packages)"
    exit 4
fi
cat build/audit.txt
exit "$status"
