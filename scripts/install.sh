#!/usr/bin/env bash
# Sets the program up and runs it.
#
#   ./scripts/install.sh            set up only
#   ./scripts/install.sh start      set up, then run the paper-trading bot
#   ./scripts/install.sh test       set up with the test tools, then run the whole suite
#   ./scripts/install.sh WORDS...   set up, then `run_trader.py WORDS...`
#
# Safe to run twice: what is in place stays, an existing .env is never touched. All talk goes to
# stderr, so that the answer of a command stays alone on stdout. PYTHON=/path/to/python chooses
# the interpreter.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly VENV=.venv
readonly VENV_PYTHON=$VENV/bin/python

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "error: $1"
    [ -z "${2:-}" ] || say "  $2"
    exit 1
}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3 python3.11 python3.12 python3.13 python3.14 python; do
        if command -v "$candidate" >/dev/null && is_new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    local found
    found=$(python3 --version 2>/dev/null || echo "no Python at all")
    fail "Python 3.11 or newer is needed; found $found." \
        "Debian, Ubuntu: sudo apt install python3 python3-venv. Others: https://www.python.org"
}

make_environment() {
    if [ -x "$VENV_PYTHON" ] && is_new_enough "$VENV_PYTHON" \
        && "$VENV_PYTHON" -c 'import pip' 2>/dev/null; then
        return
    fi
    local python
    python=$(find_python)
    "$python" -c 'import venv, ensurepip' 2>/dev/null \
        || fail "$python has no venv module." "Debian, Ubuntu: sudo apt install python3-venv"
    say "Making the environment $VENV with $("$python" --version) ..."
    rm -rf "$VENV"
    "$python" -m venv "$VENV" >&2 || {
        rm -rf "$VENV"
        fail "The environment could not be made in $PWD." "See the message above: rights, disk?"
    }
}

# The stamp is a copy of what was installed last; equal files mean there is nothing to do.
install_packages() {
    local requirements=$1
    local stamp=$VENV/installed-$requirements
    cmp -s "$requirements" "$stamp" && return
    say "Installing $(grep -c '==' "$requirements") locked packages ($requirements); the first" \
        "time takes a minute or two ..."
    "$VENV_PYTHON" -m pip install --quiet --disable-pip-version-check --no-input --use-pep517 \
        -r "$requirements" >&2 \
        || fail "The packages could not be installed." \
            "Is the network up, the disk not full? Run the command again: it starts where it was."
    cp "$requirements" "$stamp"
}

make_settings() {
    local folder
    for folder in data models logs; do
        mkdir -p "$folder"
    done
    [ -e .env ] && return
    (umask 077 && cp .env.example .env)
    chmod 600 .env
    say "Wrote .env from .env.example: paper trading, no keys needed."
}

has_browser() {
    local name
    for name in chromium chromium-browser google-chrome google-chrome-stable; do
        command -v "$name" >/dev/null && return
    done
    return 1
}

offer_browser() {
    has_browser && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "Installing Chromium for the browser tests ..."
        if DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null 2>&1 \
            || { apt-get update -qq >/dev/null 2>&1 \
                && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium \
                    >/dev/null 2>&1; }; then
            return
        fi
    fi
    say "No Chromium: the browser tests will be skipped. Debian: sudo apt install chromium"
}

make_environment
if [ "${1:-}" = test ]; then
    install_packages requirements-dev.txt
    # The test tools come on top of what runs, so both stamps hold.
    cp requirements.txt "$VENV/installed-requirements.txt"
    make_settings
    offer_browser
    shift
    exec "$VENV_PYTHON" test_trader.py "$@"
fi
install_packages requirements.txt
make_settings
if [ $# -eq 0 ]; then
    say "Ready. Start the paper-trading bot with: ./scripts/install.sh start"
    exit 0
fi
exec "$VENV_PYTHON" run_trader.py "$@"
