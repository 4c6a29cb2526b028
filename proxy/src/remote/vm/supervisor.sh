
# Keeps one claude process from its start to its last line, in a session of its own.
# Arguments: folder, log folder, working folder, tag, limits. The limits are seconds: of silence, of idle time, for an
# answer to a request, for a turn (0: none). The command line is in the file command, a word a line; the first message
# in the file first.
supervise() {
  run=$1 logs=$2 work=$3 tag=$4
  set_limits $5
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
  # Claude fails where it can print no more.
  [ "$reason" != ended ] || [ "$code" -eq 0 ] || has_room || reason=full
  claim_verdict . && write_exit . "$logs" "$code" "$reason"
  exit 0
}

# Whether something can be written beside the log, of which some is kept for its last line.
has_room() {
  [ -d "$logs" ] || return 0
  dd if=/dev/zero of="$logs/.room" bs=4096 count=1 2>/dev/null && [ "$(wc -c <"$logs/.room" | tr -d ' ')" = 4096 ]
  room=$?
  rm -f "$logs/.room"
  return $room
}

set_limits() {
  silence=$1 idle=$2 approval=$3 turn_limit=$4
}

# Hands messages to claude, in the order of their identifiers in the FIFO, each once. Closed, it stays for the answers
# that the running turn may ask for: without its input, claude takes every question for denied.
feed() {
  for id in $(cat first); do hand_over "$id"; done
  while IFS= read -r id <&3; do
    case $id in
      close)
        busy "$log" || end_input
        announce_end &
        ;;
      end) end_input ;;
      '' | *[!A-Za-z0-9._-]*) ;;
      *) hand_over "$id" ;;
    esac
  done
}

# Tells the feeder that the turn is over. It must not hold claude's input open itself.
announce_end() {
  exec 4>&-
  looks=0 pause=0.2
  while busy "$log" && kill -0 "$child" 2>/dev/null; do
    nap $pause
    # A turn that waits for an answer may take a day.
    looks=$((looks + 1))
    [ $looks -lt 50 ] || pause=1
  done
  echo end >&3
}

end_input() {
  : >fed
  exit 0
}

# Once, however often it is told of: an answer may be brought by two people at the same moment.
hand_over() {
  [ -e "brief/$1" ] || [ -e "spool/$1" ] || return 0
  full=
  if take "$1"; then
    # No process more than it needs: somebody waits.
    if read_brief "brief/$1"; then
      await_line_end
      # With its newline in one write.
      if printf '%s' "$said$newline" >>"$log"; then printf '%s\n' "$turn" >&4; else no_room "$1"; fi
    else
      if [ -f "turns/$1" ]; then
        await_line_end
        dd if="turns/$1" bs="$(wc -c <"turns/$1" | tr -d ' ')" 2>/dev/null >>"$log" || no_room "$1"
      fi
      # Claude gets nothing that the log does not say.
      [ -n "$full" ] || cat "spool/$1" >&4
    fi
  elif [ ! -e "done/$1" ]; then
    # Nobody took it: there is no room for one more file.
    await_line_end
    no_room "$1"
  elif [ -s "done/$1" ]; then
    # Withdrawn: the files are its sender's.
    return 0
  fi
  rm -f "brief/$1" "spool/$1" "turns/$1"
}

# The log takes no more, so that neither message $1 nor what Claude says would be in it, or no file can be made any more:
# ends the run. The room that was kept for the last line is used for the message, too, if it is short. It may be sent again.
no_room() {
  full=1
  rm -f "$logs/.reserve"
  [ -z "$(tail -c 1 "$log")" ] || echo >>"$log"
  said=
  read_brief "brief/$1" || [ "$(wc -c <"turns/$1")" -gt 8192 ] || IFS= read -r said <"turns/$1"
  [ -z "$said" ] || [ ${#said} -gt 8192 ] || printf '%s' "$said$newline" >>"$log"
  # First, for the reason may need the place of a file.
  rm -rf "${run%/runs/*}/messages/$1" "brief/$1" "spool/$1" "turns/$1"
  end_turn full
}

# Makes message $1 ours, unless it is or was withdrawn. Only one can make a file that is not there; and nobody, where no file
# can be made: then there is none afterwards.
take() {
  set -C
  { printf '' >"done/$1"; } 2>/dev/null
  taken=$?
  set +C
  return $taken
}

# Until claude is not in the middle of a line of its own.
await_line_end() {
  patience=0
  while [ -n "$(tail -c 1 "$log")" ] && [ $patience -lt 40 ]; do
    patience=$((patience + 1))
    nap 0.05
  done
}

# Ends a process that waits for nothing (idle), prints nothing (silent; not while a request for permission is open) or
# works on one message for too long (overtime; the time that it waits for answers does not count). A request that nobody
# answers is denied.
watch() {
  tick=15
  for limit in "$silence" "$idle" "$approval" "$turn_limit"; do
    [ "$limit" -eq 0 ] || [ $((limit / 4)) -ge $tick ] || tick=$((limit / 4))
  done
  [ $tick -ge 1 ] || tick=1
  quiet=0 worked=0 answered=0 waiting=
  : >mark
  while sleep $tick; do
    kill -0 $$ 2>/dev/null || exit 0
    if [ "$log" -nt mark ] || [ "done" -nt mark ]; then
      : >mark
      quiet=0 waiting=
    else
      # What the log does not change, need not be looked for again.
      [ $quiet -gt 0 ] || waiting=$(open_requests "$log" answers)
      quiet=$((quiet + tick))
    fi
    if ! busy "$log"; then
      worked=0
      [ $quiet -lt "$idle" ] || close_run . idle
    elif [ -n "$waiting" ]; then
      # An answer is a beginning: claude has not been silent since before it.
      deny_late || quiet=0 waiting=
    elif [ $quiet -ge "$silence" ]; then
      end_turn silent
    elif [ "$turn_limit" -gt 0 ]; then
      results=$(grep -c '^{"type":"result"' "$log")
      [ "$results" -eq $answered ] || answered=$results worked=0
      worked=$((worked + tick))
      [ $worked -lt "$turn_limit" ] || end_turn overtime
    fi
  done
}

end_turn() {
  echo "$1" >reason
  end_all "CATALYST_RUN=$tag"
}

# Denies those of the waiting requests that have waited for too long; fails if all are answered.
deny_late() {
  still=1
  mkdir -p asked
  now=$(date +%s)
  for request in $waiting; do
    [ ! -e "answers/$request" ] || continue
    still=0
    since=
    { read -r since <"asked/$request"; } 2>/dev/null
    [ -n "$since" ] || { echo "$now" >"asked/$request" && since=$now; }
    [ $((now - since)) -ge "$approval" ] || continue
    printf '{"type":"control_response","response":{"subtype":"success","request_id":"%s","response":{"behavior":"deny","message":"%s","interrupt":false}}}\n' \
      "$request" "Nobody answered this request in time, so it counts as denied. Do not ask again; say what you would have done." \
      >"$run/answers/$request.new.$$"
    first_answer "$request" "$run/answers/$request.new.$$" && answer_given "$request" deny
  done
  return $still
}

# Takes no more messages into run $1 and lets claude finish; $2 says why.
close_run() {
  mkdir "$1/closed" 2>/dev/null || return 0
  [ -e "$1/reason" ] || printf '%s\n' "$2" >"$1/reason"
  exec 5<>"$1/ctl"
  echo close >&5
  exec 5>&-
}
