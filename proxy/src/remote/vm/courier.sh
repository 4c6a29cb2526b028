
# Short messages into runs that are there, without a process for each: a shell that stays, as long as its channel does.

# Six lines on standard input a message: the idea's id, its folder, the message's id, the mode, Claude's line, the log's
# line. Prints "accepted ID N", or "no ID": then nothing was done, and cmd_send has to do it.
cmd_courier() {
  me=$state/courier.$$
  mkdir -p "$state" && identify $$ "$me" || fail storage "$state"
  # Of those that were killed; one that just begins has not put its own in its place yet.
  for other in "$state"/courier.*; do
    case $other in *.new.*) continue ;; esac
    alive "$other" || rm -f "$other"
  done
  echo ready
  while IFS= read -r id && IFS= read -r folder && IFS= read -r message && IFS= read -r mode && IFS= read -r turn &&
    IFS= read -r said; do
    place "$id" "$folder"
    if into_live_run 2>/dev/null; then printf 'accepted %s %s\n' "$message" $n; else printf 'no %s\n' "$message"; fi
  done
  rm -f "$me"
}

# We stand as the message's carrier: if we die before it is handed over, whoever sends it again carries it on. What the
# shell does itself, no process is made for: a message costs two here and two at the feeder.
into_live_run() {
  latest
  at_run $n
  claimed=$idea/messages/$message brief=$run/brief/$message
  [ $n -gt 0 ] && [ ! -e "$claimed" ] && [ -d "$run/brief" ] && [ -e "$run/ready" ] && [ ! -e "$run/closed" ] && [ ! -e "$run/exit" ] || return 1
  running=
  read -r running <"$run/mode"
  [ "$running" = "$mode" ] && alive "$run/identity" || return 1
  mkdir "$claimed" && ln "$me" "$claimed/carrier" || return 1
  if ! printf '%s\n%s\n' "$said" "$turn" >"$brief" || ! tell "$message" closed; then
    rm -f "$brief"
    undo_claim
    return 1
  fi
  # What is not empty is whole.
  printf '%s\n' $n >"$claimed/run"
  return 0
}
