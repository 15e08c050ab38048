# Sourced by example_workflow/run, tests/run and .ci/run: makes the environment `.venv` at the repository root.
#
#   make_environment EXTRAS [PACKAGE...]   installs this checkout with those extras, and those packages
#
# Nothing is installed again while pyproject.toml and what is asked for stay the same. uv installs: the one
# that is found, or one in the environment; pip where it cannot. The Python may be named: PYTHON=/path/to/python3.12.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
environment="$repository/.venv"
oldest_python="3.11"

say() { printf '%s\n' "$*"; }

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Is this a Python that is new enough? (A name on PATH may also be a launcher that has nothing to launch.)
_new_enough() {
  "$1" -c "import sys; sys.exit(sys.version_info < (${oldest_python/./, }))" </dev/null >/dev/null 2>&1
}

# The first Python on this machine that is new enough; nothing where there is none.
_find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11 python; do
    if _new_enough "$candidate"; then
      printf '%s\n' "$candidate"
      return
    fi
  done
}

_create_environment() {
  local python
  python=$(_find_python)
  if [ -n "$python" ]; then
    say "environment: ${environment##*/} with $("$python" --version)"
  elif command -v uv >/dev/null; then
    python=">=$oldest_python" # uv fetches one
    say "environment: ${environment##*/} with a Python that uv fetches"
  else
    fail "no Python $oldest_python or newer found. Install one, or name it: PYTHON=/path/to/python $0"
  fi
  if command -v uv >/dev/null && uv venv --quiet --clear --seed --python "$python" "$environment" </dev/null; then
    return
  fi
  "$python" -m venv --clear "$environment" </dev/null \
    || fail "'$python -m venv' failed (Debian and Ubuntu keep it in the package python3-venv)"
}

# pip takes minutes for what uv does in seconds, so the environment gets a uv where the machine has none.
_uv() {
  command -v uv || command -v "$environment/bin/uv" && return
  "$environment/bin/python" -m pip install --quiet --disable-pip-version-check uv </dev/null >&2 || return
  command -v "$environment/bin/uv"
}

_install() {
  local uv
  if uv=$(_uv); then
    if "$uv" pip install --quiet --compile-bytecode --python "$environment/bin/python" "$@" </dev/null; then
      return
    fi
    say "environment: uv could not install, trying pip"
  fi
  "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --use-pep517 "$@" </dev/null \
    || fail "the packages could not be installed (see above)"
}

# What an installation depends on, as one word.
_fingerprint() {
  { cat "$repository/pyproject.toml" && printf '%s\n' "$repository" "$@"; } | cksum | tr -s ' ' '-'
}

make_environment() {
  local extras=$1 stamp fingerprint
  shift
  _new_enough "$environment/bin/python" || _create_environment
  stamp="$environment/installed-$extras"
  fingerprint=$(_fingerprint "$extras" "$@")
  if [ "$(cat "$stamp" 2>/dev/null || true)" != "$fingerprint" ]; then
    say "environment: installing this checkout with [$extras]${*:+ and $*}"
    _install --editable "$repository[$extras]" "$@"
    printf '%s\n' "$fingerprint" >"$stamp"
  fi
  export PATH="$environment/bin:$PATH"
}
