# shellcheck shell=bash
# To be sourced, by scripts that have a function `say`: `install_packages NAME...` installs Debian's packages, or says what to do
# and exits where there is no apt-get.

install_packages() {
  if ! command -v apt-get >/dev/null; then
    say "please install with this system's package manager: $* (names are Debian's)" >&2
    exit 1
  fi
  say "installing $*"
  local root=()
  [ "$(id -u)" = 0 ] || root=(sudo)
  "${root[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${root[@]}" apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}
