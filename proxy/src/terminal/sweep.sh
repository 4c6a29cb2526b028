# Ends the terminals that tmux and screen keep, at which nobody looks, and in which nothing was typed or printed for $1 seconds.
# Prints their names. What is in doubt stays.
before=$(($(date +%s) - $1))

# Of each session when it was used last, and of its windows when they printed last.
tmux -L catalyst list-sessions -F '#{session_name} #{session_attached} #{session_activity} #{W:#{window_activity} }' 2>/dev/null |
  while read -r name attached times; do
    [ "$attached" = 0 ] || continue
    for time in $times; do
      [ "$time" -lt "$before" ] || continue 2
    done
    tmux -L catalyst kill-session -t "=$name" </dev/null 2>/dev/null && echo "$name"
  done

# screen does not tell; the kernel does, to within 8 s, of the terminals of the shells that screen has started.
screen -ls 2>/dev/null | sed -n 's/^[[:space:]]*\([0-9]*\)\.\(catalyst-[A-Za-z0-9_-]*\)[[:space:]].*(Detached).*/\1 \2/p' |
  while read -r pid name; do
    shells=$(grep -l "^PPid:[[:space:]]*$pid\$" /proc/[0-9]*/status 2>/dev/null)
    [ -n "$shells" ] || continue
    for shell in $shells; do
      tty=$(readlink "${shell%status}fd/0")
      case $tty in /dev/pts/*) ;; *) continue 2 ;; esac
      for time in $(stat -c '%X %Y' "$tty" || echo unknown); do
        [ "$time" -lt "$before" ] 2>/dev/null || continue 3
      done
    done
    screen -S "$pid.$name" -X quit </dev/null >/dev/null 2>&1 && echo "$name"
  done
exit 0
