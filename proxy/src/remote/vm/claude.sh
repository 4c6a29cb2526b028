# Where Claude Code is: for runs, and for whoever checks the VM.

# Sets claude to the path of command $1: from PATH, from the usual places, or from where a login shell finds it.
find_claude() {
  claude=$(command -v "$1" 2>/dev/null) && return 0
  for at in "$HOME/.local/bin/$1" "$HOME/.claude/local/$1" "$HOME/.npm-global/bin/$1" "/usr/local/bin/$1"; do
    [ -x "$at" ] && claude=$at && return 0
  done
  case $1 in *[!A-Za-z0-9._/-]*) return 1 ;; esac
  claude=$("${SHELL:-sh}" -lc "command -v $1" 2>/dev/null </dev/null | tail -n 1)
  case $claude in /*) [ -x "$claude" ] ;; *) return 1 ;; esac
}

