
# How a message comes to a run: one carrier at a time, through whatever ends before the message is there.

# Takes a message. Arguments: message id, mode, bytes of standard input (Claude's line, then the log's line), session or
# "-", limits, claude, then claude's arguments. Prints "accepted N".
cmd_send() {
  place "$1" "$2"
  message=$3 mode=$4 bytes=$5
  [ -d "$folder" ] || fail idea_gone
  mkdir -p "$idea/runs" "$idea/messages" "$idea/inbox" || fail storage "$idea"
  box=$idea/inbox/$message.$$
  cat >"$box" || fail storage "$idea"
  [ "$(wc -c <"$box" | tr -d ' ')" = "$bytes" ] || fail storage_or_cut "$idea"
  claimed=$idea/messages/$message
  patience=0
  until carry; do
    [ ! -s "$claimed/run" ] || break
    if [ $patience -ge 50 ] && kept; then
      rm -f "$box"
      printf 'accepted %s\n' $n
      exit 0
    fi
    if [ $patience -ge 300 ]; then
      rm -f "$box"
      fail not_started 'somebody else brings this message and has not come to an end'
    fi
    patience=$((patience + 1))
    nap 0.1
  done
  if handed; then
    rm -f "$box"
    took "$handed"
  fi
  head -n 1 "$box" >"$box.turn" && tail -n +2 "$box" >"$box.log" && rm -f "$box" || fail storage "$idea"
  shift 2
  deliver "$@"
}

# Whether the message comes to a run even if its carrier dies: it waits for the end of one, or a run began with it. Sets n.
kept() {
  latest
  [ "$(cat "$idea/runs/$n/first" 2>/dev/null)" != "$message" ] || return 0
  n=$((n + 1))
  for waiting in "$idea/inbox/$message".*.args; do
    [ ! -s "$waiting" ] || return 0
  done
  return 1
}

# Becomes the one who brings the message to a run. Fails if somebody has brought it, or carries it and lives.
# A link is made whole or not at all: whoever has the claim is named in it.
carry() {
  [ ! -s "$claimed/run" ] || return 1
  mkdir -p "$claimed" && identify $$ "$idea/inbox/carrier.$$" || fail storage "$idea"
  carrier=$claimed/carrier turn=0
  while ! ln "$idea/inbox/carrier.$$" "$carrier" 2>/dev/null; do
    if [ ! -e "$carrier" ] || [ $turn -ge 50 ] || alive "$carrier"; then
      rm -f "$idea/inbox/carrier.$$"
      return 1
    fi
    turn=$((turn + 1))
    carrier=$claimed/carrier.$turn
  done
  rm -f "$idea/inbox/carrier.$$"
}

# Whether a carrier before us brought the message to a run, even if it died before it could say so. Sets handed.
handed() {
  if [ -s "$claimed/run" ]; then
    handed=$(cat "$claimed/run")
    return 0
  fi
  [ "$carrier" != "$claimed/carrier" ] || return 1
  latest
  at_run $n
  # Before what was handed over: it may be on its way from here to there.
  waits=
  { [ -e "$run/spool/$message" ] || [ -e "$run/brief/$message" ]; } && waits=1
  was_taken && return 0
  [ $n -gt 0 ] && [ -n "$waits" ] || return 1
  if settle "$run" "$logs" "$tag"; then
    # The feeder may have taken it in the run's last moment.
    was_taken
    return
  fi
  if [ ! -e "$run/spool/$message" ] && ! read_brief "$run/brief/$message"; then
    # Its courier died before it had told of it.
    rm -f "$run/brief/$message"
    return 1
  fi
  # Perhaps the feeder was not told.
  [ ! -p "$run/ctl" ] || tell "$message" closed || return 1
  handed=$n
}

# Whether a feeder took the message. Sets handed to its run.
was_taken() {
  for handed in "$idea"/runs/*/done/"$message"; do
    { [ -e "$handed" ] && [ ! -s "$handed" ]; } || continue
    handed=${handed%/done/*} handed=${handed##*/}
    return 0
  done
  return 1
}

# Nothing is left of the message, so that it can be sent again. Moved away first: who waits for the claim sees it whole
# or not at all.
undo_claim() {
  rm -f "$idea/inbox/$message".*.turn "$idea/inbox/$message".*.log "$idea/inbox/$message".*.args
  mv "$claimed" "$idea/inbox/undone.$$" && rm -rf "$idea/inbox/undone.$$"
}

# Brings the message in $box into the live run of its mode, or a new one. A run that is ending is waited for, in the
# background if it takes long. Arguments: as cmd_send from the message's id on.
deliver() {
  message=$1 mode=$2 session=$4 limits=$5
  shift 5
  waited=0
  while :; do
    [ ! -s "$claimed/run" ] || took "$(cat "$claimed/run")"
    latest
    at_run $n
    if [ $n -gt 0 ] && ! settle "$run" "$logs" "$tag"; then
      running=
      { read -r running <"$run/mode"; } 2>/dev/null
      if [ ! -d "$run/closed" ] && [ -e "$run/ready" ]; then
        if [ "$running" != "$mode" ]; then
          close_run "$run" switched
        elif enqueue "$message" "$box.turn" "$box.log"; then
          took $n
        fi
      fi
      if [ $waited -ge 30 ] && [ -z "${CATALYST_WAITS-}" ]; then
        printf '%s\n' "$message" "$mode" - "$session" "$limits" "$@" >"$box.new" &&
          mv -f "$box.new" "$box.args" && hand_on || { undo_claim; fail storage "$idea"; }
        printf 'accepted %s\n' $((n + 1))
        exit 0
      fi
      waited=$((waited + 1))
      nap 0.1
      continue
    fi
    n=$((n + 1))
    start_run "$@" && took $n
  done
}

# Makes a process in the background the carrier of what $box holds.
hand_on() {
  CATALYST_WAITS=1 setsid sh "$self" deliver "$id" "$folder" "$message" "$box" "$carrier" </dev/null >/dev/null 2>&1 &
  identify $! "$carrier" || { kill $!; return 1; }
}

# That process. It carries nothing before it is named.
cmd_deliver() {
  place "$1" "$2"
  message=$3 box=$4 carrier=$5 claimed=$idea/messages/$3
  patience=0 named=
  until { read -r boot named stat_start <"$carrier"; } 2>/dev/null && [ "$named" = $$ ]; do
    [ $patience -lt 50 ] || exit 0
    patience=$((patience + 1))
    nap 0.1
  done
  set --
  while IFS= read -r word; do set -- "$@" "$word"; done <"$box.args"
  deliver "$@"
}

# Messages that were accepted and whose carrier is gone, as after a reboot, get another.
revive() {
  for box in "$idea"/inbox/*.args; do
    [ -s "$box" ] || continue
    box=${box%.args}
    { read -r message <"$box.args"; } 2>/dev/null || continue
    claimed=$idea/messages/$message
    carry || continue
    if handed; then
      keep_run "$handed"
    else
      # It may have been the first of a run that never came to it.
      [ -e "$box.turn" ] || mv "$run/spool/$message" "$box.turn"
      [ -e "$box.log" ] || mv "$run/turns/$message" "$box.log"
      hand_on
    fi
  done
}

# Records that run $1 has the message.
keep_run() {
  printf '%s\n' "$1" >"$claimed/run.new.$$" && mv -f "$claimed/run.new.$$" "$claimed/run"
  rm -f "$idea/inbox/$message".*.turn "$idea/inbox/$message".*.log "$idea/inbox/$message".*.args
}

took() {
  keep_run "$1"
  printf 'accepted %s\n' "$1"
  exit 0
}

# The message cannot be delivered: says why. Arguments: as fail. Who waits in the background has nobody to say it to,
# so the next run says it.
refuse() {
  if [ -z "${CATALYST_WAITS-}" ]; then
    undo_claim
    fail "$@"
  fi
  case $1 in
    claude_missing) words='Claude Code was not found on the VM' ;;
    not_started) words="the run did not start: ${2-}" ;;
    *) words="there was no room, or it may not be written: ${2-}" ;;
  esac
  if [ ! -e "$run/exit" ]; then
    mkdir "$run" 2>/dev/null || { [ ! -d "$run" ] || return 1; exit 3; }
    identify $$ "$run/identity"
    printf '%s\n' "$mode" >"$run/mode"
    # What cannot be said now stays, and is tried again when somebody looks.
    mkdir -p "$logs" && start_line >"$logs/log.jsonl" &&
      cat "$box.log" >>"$logs/log.jsonl" || { rm -rf "$run" "$logs"; exit 3; }
    claim_verdict "$run" &&
      write_exit "$run" "$logs" 127 missing "The message could not be handed to Claude ($words). Send it again."
  fi
  announce "run $id $n"
  undo_claim
  exit 3
}

# Puts message $1 (Claude's line in file $2, the log's in file $3, if any) before the feeder. Fails, with the files as
# they were, if the run will not take it any more.
enqueue() {
  [ -z "${3-}" ] || mv "$3" "$run/turns/$1" || return 1
  mv "$2" "$run/spool/$1" || return 1
  # An answer is for the running turn, which goes on when the run is closed.
  gate=closed
  [ -n "${3-}" ] || gate=fed
  tell "$1" $gate && return 0
  mv "$run/spool/$1" "$2" 2>/dev/null || return 0
  [ -z "${3-}" ] || mv "$run/turns/$1" "$3" 2>/dev/null
  return 1
}

# Tells the feeder of message $1. Fails, and the message is withdrawn, if gate $2 closed before the feeder took it:
# whoever makes the file in done first has the message. A withdrawn one is not empty, for it links what is there. Where no
# file can be made, neither has it, and it goes back to its sender.
tell() {
  exec 5<>"$run/ctl"
  printf '%s\n' "$1" >&5
  exec 5>&-
  if [ -e "$run/$2" ] || [ -e "$run/exit" ] || ! alive "$run/identity"; then
    ln "$run/identity" "$run/done/$1" 2>/dev/null
    [ -e "$run/done/$1" ] && [ ! -s "$run/done/$1" ] || return 1
  fi
  return 0
}
