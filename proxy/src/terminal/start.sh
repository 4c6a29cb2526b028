# Starts or finds a terminal and attaches to it. Plain POSIX sh. Nothing here was typed by a user:
# $1 the folder that it starts in, $2 its name, $3 auto or plain, $4 tmux's configuration, $5 screen's.

say() {
  printf -- '--catalyst-terminal %s--\n' "$*"
}

mkdir -p -- "$1" 2>/dev/null
cd -- "$1" 2>/dev/null || {
  say error folder
  exit 1
}
case ${LC_ALL:-${LC_CTYPE:-${LANG-}}} in
  *[Uu][Tt][Ff]*8) ;;
  *)
    unset LC_ALL
    LC_CTYPE=C.UTF-8
    export LC_CTYPE
    ;;
esac
COLORTERM=truecolor
export COLORTERM
state=$HOME/.local/state/catalyst
size=$(stty size 2>/dev/null) || size='24 80'
rows=${size% *} columns=${size#* }

# Writes $2 to file $1 of ours; renamed into place, for another one may read it at this moment.
configure() (
  umask 077
  mkdir -p "$state" && printf '%s\n' "$2" >"$state/.$1.$$" && mv -f "$state/.$1.$$" "$state/$1"
)

on_tmux() {
  tmux -L catalyst "$@"
}

attach_tmux() {
  configure tmux.conf "$4" 2>/dev/null || return 1
  if on_tmux has-session -t "=$2" 2>/dev/null; then
    say tmux 1
    # The lines above the screen, for an emulator that begins empty; then room, for tmux clears the screen.
    on_tmux capture-pane -p -e -J -S -2000 -E -1 -t "=$2:" 2>/dev/null
    row=0
    while [ $row -lt "$rows" ]; do
      row=$((row + 1))
      echo
    done
  else
    on_tmux -u -f "$state/tmux.conf" new-session -d -s "$2" -x "$columns" -y "$rows" 2>/dev/null || return 1
    say tmux 0
  fi
  on_tmux -u attach-session -t "=$2"
  status=$?
  on_tmux has-session -t "=$2" 2>/dev/null && exit 75
  exit $status
}

on_screen() {
  screen -ls "$1" 2>/dev/null | grep -q "[0-9]\.$1[[:space:]]"
}

# It goes to the background before its socket is there.
on_screen_soon() {
  tries=0
  until on_screen "$1"; do
    tries=$((tries + 1))
    [ $tries -le 100 ] || return 1
    sleep 0.1 2>/dev/null || sleep 1
  done
}

attach_screen() {
  configure screenrc "$5" 2>/dev/null || return 1
  found=1
  on_screen "$2" || {
    found=0
    screen -U -c "$state/screenrc" -T xterm-256color -d -m -S "$2" 2>/dev/null && on_screen_soon "$2" || return 1
  }
  say screen $found
  screen -U -c "$state/screenrc" -x -S "$2"
  on_screen "$2" && exit 75
  exit 0
}

if [ "$3" = auto ]; then
  command -v tmux >/dev/null 2>&1 && attach_tmux "$@"
  command -v screen >/dev/null 2>&1 && attach_screen "$@"
fi
say plain 0
exec "${SHELL:-/bin/sh}" -l
