# Looks at what the VM has; writes nothing but a file of its own in the ideas folder. $1: that folder, $2: the claude command.
say() { printf '%s\t%s\t%s\n' "$1" "$2" "$3"; }
has() { command -v "$1" >/dev/null 2>&1; }
# What a program prints within 10 s; whatever it started ends with it.
bounded() {
  setsid "$@" </dev/null 2>/dev/null &
  asked=$!
  (sleep 10; kill -KILL "-$asked") </dev/null >/dev/null 2>&1 &
  bound=$!
  wait $asked 2>/dev/null
  kill $bound 2>/dev/null
}

say shell ok "sh runs as $(id -un 2>/dev/null || echo '?') on $(uname -sr 2>/dev/null)"
missing=
for program in setsid tail head mkfifo cat mv mkdir wc find xargs sha256sum grep sed awk dd cut ln rm tr date sleep; do
  has "$program" || missing="$missing $program"
done
printf 'a\000b\000' | grep -qzFx b 2>/dev/null || missing="$missing grep -z"
if [ -z "$missing" ]; then
  say programs ok "setsid, tail, find and what else runs and ideas need are there"
else
  say programs fail "missing:$missing. Install util-linux, coreutils and findutils on the VM (or busybox with these)."
fi
if tail --version 2>/dev/null | grep -q GNU; then say tail ok "GNU tail follows logs at once"
else say tail warn "tail is not GNU's: logs are looked at ten times a second instead."; fi
if [ -d "$HOME" ] && [ -w "$HOME" ]; then
  say home ok "$HOME can be written"
else
  say home fail "the home folder '$HOME' is not there or cannot be written. Correct it in /etc/passwd, or its owner and mode."
fi
if has git; then say git ok "$(git --version 2>/dev/null)"; else say git warn "git is missing: changes in projects cannot be shown."; fi
if has tmux; then say terminal ok "tmux keeps terminals"; elif has screen; then say terminal ok "screen keeps terminals"
else say terminal warn "neither tmux nor screen: a terminal ends when its connection does."; fi

if mkdir -p -- "$1" 2>/dev/null && (umask 077; : >"$1/.catalyst-check.$$") 2>/dev/null; then
  rm -f -- "$1/.catalyst-check.$$"
  say ideas ok "$1 can be written"
else
  say ideas fail "$1 cannot be created or written. Correct IDEAS_BASE_PATH, or the folder's owner and mode on the VM."
fi
state=$HOME/.local/state/catalyst
if mkdir -p -- "$state" 2>/dev/null && [ -w "$state" ]; then
  say state ok "$state can be written"
else
  say state fail "$state cannot be written. Runs keep their control files there."
fi
free=$(df -Pk -- "$1" 2>/dev/null | awk 'NR == 2 { print int($4 / 1024) }')
case $free in
  '') say disk warn "the free space could not be found out" ;;
  *) if [ "$free" -lt 200 ]; then say disk fail "only $free MiB are free. Make room on the VM."; else say disk ok "$free MiB are free"; fi ;;
esac

if find_claude "$2"; then
  version=$(bounded "$claude" --version | head -n 1)
  if [ -n "$version" ]; then
    say claude ok "$version ($claude)"
  else
    say claude fail "$claude is there, but '$claude --version' says nothing within 10 s. Run it on the VM to see why."
  fi
else
  say claude fail "$2 is not on the PATH over SSH, in the usual places, or known to a login shell. Install Claude Code (npm install -g @anthropic-ai/claude-code), or set CLAUDE_COMMAND to its full path. PATH: $PATH"
fi
exit 0
