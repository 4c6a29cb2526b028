
# Keeps one claude process from its start to its last line, in a session of its own.
# Arguments: folder, log folder, working folder, tag, silence in seconds, idle time in seconds. The command line is in
# the file command, a word a line; the first message in the file first.
supervise() {
  run=$1 logs=$2 work=$3 tag=$4 silence=$5 idle=$6
  log=$logs/log.jsonl
  cd "$run" || exit 1
  # A handler, not '': an ignored signal would be inherited by claude.
  trap : TERM HUP
  identify $$ identity || exit 1
  # Judged before we came: somebody else already writes the end.
  [ -d verdict ] && exit 0
  mkfifo ctl in || exit 1
  # Opened both ways, so that neither end ever waits for the other.
  exec 3<>ctl 4<>in
  set --
  while IFS= read -r word; do set -- "$@" "$word"; done <command
  (
    cd "$work" || exit 1
    if [ -n "$CATALYST_LC" ]; then LC_ALL=$CATALYST_LC; else unset LC_ALL; fi
    unset CATALYST_SUPERVISOR CATALYST_LC CATALYST_WAITS
    CATALYST_RUN=$tag
    export CATALYST_RUN
    exec "$@"
  ) <in >>"$log" 2>>"$logs/stderr.log" 3>&- 4>&- &
  child=$!
  feed &
  # From here the feeder alone holds the writing end of claude's input: when it leaves, claude sees the end.
  exec 3>&- 4>&-
  watch &
  : >ready
  while :; do
    wait "$child"
    code=$?
    # wait also returns when a signal came; a child that was waited for is gone.
    kill -0 "$child" 2>/dev/null || break
  done
  end_all "CATALYST_RUN=$tag"
  end_session
  reason=ended
  # Empty where a full disk took no more of it.
  { read -r reason <reason && [ -n "$reason" ]; } 2>/dev/null || reason=ended
  claim_verdict . && write_exit . "$logs" "$code" "$reason"
  exit 0
}

# Hands messages to claude, in the order of their identifiers in the FIFO, each once.
feed() {
  for id in $(cat first); do hand_over "$id"; done
  while IFS= read -r id <&3; do
    case $id in
      close) exit 0 ;;
      '' | *[!A-Za-z0-9._-]*) ;;
      *) hand_over "$id" ;;
    esac
  done
}

hand_over() {
  mv "spool/$1" "done/$1" 2>/dev/null || return 0
  if [ -f "turns/$1" ]; then
    # One write of a whole line, while claude is not in the middle of one of its own.
    patience=0
    while [ -n "$(tail -c 1 "$log")" ] && [ $patience -lt 40 ]; do
      patience=$((patience + 1))
      nap 0.05
    done
    dd if="turns/$1" bs="$(wc -c <"turns/$1" | tr -d ' ')" 2>/dev/null >>"$log"
    rm -f "turns/$1"
  fi
  cat "done/$1" >&4
  : >"done/$1"
}

# Ends a process that waits for nothing (idle) or prints nothing (silent; not while a request for permission is open).
watch() {
  tick=$silence
  [ "$idle" -lt "$tick" ] && tick=$idle
  tick=$((tick / 4))
  [ $tick -gt 15 ] && tick=15
  [ $tick -lt 1 ] && tick=1
  quiet=0
  : >mark
  while sleep $tick; do
    kill -0 $$ 2>/dev/null || exit 0
    if [ "$log" -nt mark ] || [ "done" -nt mark ]; then
      : >mark
      quiet=0
      continue
    fi
    quiet=$((quiet + tick))
    if ! busy "$log"; then
      [ $quiet -lt "$idle" ] || close_run . idle
    elif [ $quiet -ge "$silence" ] && [ -z "$(open_requests "$log" answers)" ]; then
      echo silent >reason
      end_all "CATALYST_RUN=$tag"
    fi
  done
}

# Takes no more messages into run $1 and lets claude finish; $2 says why.
close_run() {
  mkdir "$1/closed" 2>/dev/null || return 0
  [ -e "$1/reason" ] || printf '%s\n' "$2" >"$1/reason"
  exec 5<>"$1/ctl"
  echo close >&5
  exec 5>&-
}
