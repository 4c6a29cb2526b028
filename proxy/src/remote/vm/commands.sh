
# What the proxy calls. Every command begins with: idea's id, idea's folder.
place() {
  id=$1 folder=$2 idea=$state/$1
}

# The number of the latest run, 0 if there was none; older installations' logs count too.
latest() {
  n=0
  for entry in "$idea"/runs/* "$folder"/runs/*; do
    entry=${entry##*/}
    case $entry in '' | 0* | *[!0-9]*) continue ;; esac
    [ "$entry" -gt $n ] && n=$entry
  done
}

# Sets run, logs and tag of run $1.
at_run() {
  run=$idea/runs/$1 logs=$folder/runs/$1 tag=$id/$1
}

announce() {
  printf '%s\n' "$*" >>"$state/index"
}

# How the latest run stands: "run N live|over MODE LOGSIZE".
cmd_state() {
  place "$1" "$2"
  latest
  if [ $n -eq 0 ]; then
    echo 'run 0 over none 0'
    at_run 0
    (revive) >/dev/null 2>&1
    exit 0
  fi
  at_run $n
  live=live
  settle "$run" "$logs" "$tag" && live=over
  mode=chat
  { read -r mode <"$run/mode" && mode=${mode%%:*}; } 2>/dev/null || { head -n 1 "$logs/log.jsonl" | grep -q '"mode":"build"' && mode=build; } 2>/dev/null
  size=$(wc -c 2>/dev/null <"$logs/log.jsonl" | tr -d ' ')
  printf 'run %s %s %s %s\n' $n $live "$mode" "${size:-0}"
  report_answers
  # Whatever keeps it from that is no reason not to answer.
  (revive) >/dev/null 2>&1
  return 0
}

report_answers() {
  for answer in "$run"/answers/*; do
    answer=${answer##*/}
    case $answer in '*' | *.new.*) continue ;; esac
    printf 'answered %s\n' "$answer"
  done
}

# Ends the running turn. Standard input: the interrupt request. Arguments: its id, grace in tenths of a second.
# Prints "idle", "interrupted" or "killed".
cmd_stop() {
  place "$1" "$2"
  request=$3 grace=$4
  latest
  at_run $n
  if [ $n -eq 0 ] || settle "$run" "$logs" "$tag" || ! busy "$logs/log.jsonl"; then
    echo idle
    exit 0
  fi
  size=$(wc -c <"$logs/log.jsonl" | tr -d ' ')
  mkdir -p "$idea/inbox" && cat >"$idea/inbox/$request" || fail storage "$idea"
  if enqueue "$request" "$idea/inbox/$request"; then
    waited=0
    while [ $waited -lt "$grace" ]; do
      if tail -c +$((size + 1)) "$logs/log.jsonl" | grep -qE '^\{"type":"(result|catalyst_exit)"'; then
        echo interrupted
        exit 0
      fi
      waited=$((waited + 1))
      nap 0.1
    done
  fi
  rm -f "$idea/inbox/$request"
  kill_run stopped
  echo killed
}

# Ends the live run and everything that it started; $1 says why.
kill_run() {
  [ -e "$run/reason" ] || printf '%s\n' "$1" >"$run/reason"
  end_all "CATALYST_RUN=$tag" || fail not_stopped "$(grep -lszFx "CATALYST_RUN=$tag" /proc/[0-9]*/environ | cut -d/ -f3 | tr '\n' ' ')"
  waited=0
  until settle "$run" "$logs" "$tag"; do
    waited=$((waited + 1))
    [ $waited -le 100 ] || fail not_stopped supervisor
    nap 0.1
  done
}

# Ends the live run whatever it does, as before its idea is deleted.
cmd_end() {
  place "$1" "$2"
  latest
  at_run $n
  if [ $n -gt 0 ] && ! settle "$run" "$logs" "$tag"; then kill_run stopped; fi
  echo over
}

# Says that request $1 was answered, if the answer that counts is decision $2; else that it is too late.
settled() {
  said=$(grep -o '"behavior":"[a-z]*"' "$run/answers/$1" 2>/dev/null | head -n 1)
  [ "$said" = "\"behavior\":\"$2\"" ] || fail already_answered
  echo answered
  exit 0
}

# Prints the open request for permission $3 of the live run, as Claude wrote it; "answered" if $4 is what was answered.
cmd_request() {
  place "$1" "$2"
  latest
  at_run $n
  [ $n -gt 0 ] && ! settle "$run" "$logs" "$tag" || fail request_gone
  if [ -e "$run/answers/$3" ]; then
    redeliver "$3"
    settled "$3" "$4"
  fi
  open_requests "$logs/log.jsonl" "$run/answers" | grep -qFx -e "$3" || fail request_gone
  grep -F "\"request_id\":\"$3\"" "$logs/log.jsonl" | grep '^{"type":"control_request"' | head -n 1
}

# Hands the answer to request $1 over, unless that is done: whoever was first may have died before it.
redeliver() {
  [ ! -e "$run/done/answer-$1" ] && [ ! -e "$run/spool/answer-$1" ] || return 0
  # A copy: what was handed over is emptied.
  cp "$run/answers/$1" "$run/answers/$1.new.$$" && enqueue "answer-$1" "$run/answers/$1.new.$$" && return 0
  rm -f "$run/answers/$1.new.$$"
  return 1
}

# Makes file $2 the answer to request $1, if it is the first. A link is made whole or not at all, and never replaces one.
first_answer() {
  ln "$2" "$run/answers/$1" 2>/dev/null
  first=$?
  rm -f "$2"
  return $first
}

# Tells everybody that the answer to request $1 is $2, and hands it over.
answer_given() {
  announce "answer ${tag%/*} ${tag##*/} $1 $2"
  redeliver "$1"
}

# Answers request $3 with decision $4; standard input: the answer, then a line "HASH RULE" for each rule that is to stand.
# The first answer counts. $5: the mode that claude works in from then on, if it changes.
cmd_answer() {
  place "$1" "$2"
  request=$3 decision=$4
  latest
  at_run $n
  [ $n -gt 0 ] && ! settle "$run" "$logs" "$tag" || fail request_gone
  mine=$run/answers/$request.new.$$
  rules=$mine.rules
  { cat >"$mine.all" && head -n 1 "$mine.all" >"$mine" && tail -n +2 "$mine.all" >"$rules" && [ -s "$mine" ]; } || fail storage "$idea"
  rm -f "$mine.all"
  if first_answer "$request" "$mine"; then
    keep_rules
    [ -z "${5-}" ] || { printf '%s\n' "$5" >"$run/mode.new" && mv -f "$run/mode.new" "$run/mode"; }
    answer_given "$request" "$decision" || fail request_gone
    echo answered
    exit 0
  fi
  rm -f "$rules"
  redeliver "$request"
  settled "$request" "$decision"
}

keep_rules() {
  mkdir -p "$idea/allowances"
  while IFS=' ' read -r hash rule; do
    printf '%s\n' "$rule" >"$idea/allowances.$$" && mv -f "$idea/allowances.$$" "$idea/allowances/$hash"
  done <"$rules"
  rm -f "$rules"
}

# What is always allowed, a JSON string a line.
cmd_allowances() {
  place "$1" "$2"
  cat "$idea"/allowances/* 2>/dev/null
  return 0
}

# Allows rule $3 no longer. A live process knows it: the next message gets another.
cmd_revoke() {
  place "$1" "$2"
  if [ -e "$idea/allowances/$3" ]; then
    rm -f "$idea/allowances/$3" || fail storage "$idea"
    latest
    at_run $n
    if [ $n -gt 0 ] && ! settle "$run" "$logs" "$tag"; then close_run "$run" revoked; fi
  fi
  cmd_allowances "$1" "$2"
}

# What the logs say of at most $4 runs below $3 (0: from the latest): for each a line "run N live|over LOGSIZE", then the first
# line of its log, its results without their texts, and its last line. In the end "more N" if there are older ones.
cmd_runs() {
  place "$1" "$2"
  latest
  at=$n left=$4
  [ "$3" -eq 0 ] || at=$(($3 - 1))
  while [ $at -gt 0 ]; do
    at_run $at
    if [ -e "$logs/log.jsonl" ]; then
      [ $left -gt 0 ] || break
      left=$((left - 1))
      live=over
      [ $at -lt $n ] || settle "$run" "$logs" "$tag" || live=live
      printf 'run %s %s %s\n' $at $live "$(wc -c <"$logs/log.jsonl" | tr -d ' ')"
      head -n 1 "$logs/log.jsonl" | head -c 300
      echo
      grep '^{"type":"result"' "$logs/log.jsonl" | sed -E 's/,"result":"([^"\\]|\\.)*"//; s/,"(permission_denials|errors)":.*/}/'
      tail -n 1 "$logs/log.jsonl" | grep '^{"type":"catalyst_exit"'
    fi
    at=$((at - 1))
  done
  [ $at -eq 0 ] || printf 'more %s\n' $((at + 1))
  return 0
}

# Removes all but the latest $3 runs, and that their messages were taken; not of the last day's, for whoever did not hear of it may send them
# again.
cmd_trim() {
  place "$1" "$2"
  latest
  kept=$(($n - $3))
  for entry in "$folder"/runs/* "$idea"/runs/*; do
    at=${entry##*/}
    case $at in '' | 0* | *[!0-9]*) continue ;; esac
    [ "$at" -gt $kept ] || rm -rf "$entry" || fail storage "$entry"
  done
  find "$idea/messages" -name run -type f -mtime +0 2>/dev/null | while IFS= read -r taken; do
    at=
    { read -r at <"$taken"; } 2>/dev/null
    case $at in '' | *[!0-9]*) continue ;; esac
    [ "$at" -gt $kept ] || rm -rf "${taken%/run}"
  done
  echo trimmed
}

# The log of run $3 from byte $4 on, as it grows; ends with the channel. Status 0: that is all of it; 75: look again;
# 76: there is no such run.
cmd_follow() {
  place "$1" "$2"
  at_run "$3"
  [ -d "$run" ] || [ -e "$logs/log.jsonl" ] || exit 76
  if settle "$run" "$logs" "$tag"; then
    [ -e "$logs/log.jsonl" ] || exit 0
    tail -c +$(($4 + 1)) "$logs/log.jsonl"
    # Written beside the log when there was no room in it.
    tail -n 1 "$logs/log.jsonl" | grep -q '^{"type":"catalyst_exit"' || { echo; cat "$run/exit"; } 2>/dev/null
    exit 0
  fi
  follow_file "$logs/log.jsonl" "$4" "$keeper_pid"
  exit 75
}

# The index from byte $1 on ("end": from now), first "at OFFSET".
cmd_index() {
  mkdir -p "$state" && : >>"$state/index" || fail storage "$state"
  from=$1
  [ "$from" != end ] || from=$(wc -c <"$state/index" | tr -d ' ')
  printf 'at %s\n' "$from"
  follow_file "$state/index" "$from"
  exit 75
}

# File $1 from byte $2 on, until standard input ends or process $3 is gone.
follow_file() {
  exec 6<&0
  if tail --version 2>/dev/null | grep -q GNU; then
    tail -c +$(($2 + 1)) -s 0.25 ${3:+--pid="$3"} -f "$1" 6<&- &
  else
    poll_file "$1" "$2" "${3-}" 6<&- &
  fi
  follower=$!
  follower_start=
  read_stat $follower && follower_start=$stat_start
  (
    cat <&6 >/dev/null
    end_follower
  ) >/dev/null 2>&1 &
  helper=$!
  exec 6<&-
  # A dead connection shows only where something is written to it.
  (
    trap '' PIPE
    trap 'kill $pause; exit' TERM
    while sleep "${CATALYST_HEARTBEAT:-60}" 2>/dev/null & pause=$!; wait $pause; do
      echo >&2 || break
    done
    end_follower
  ) >/dev/null &
  heart=$!
  # Not before: dash loses a signal to a child that has not yet left its parent's trap behind, and a heart that beats on keeps the
  # channel open, so that nobody hears that there is no follower.
  trap 'kill $follower $helper $heart 2>/dev/null' EXIT
  trap 'exit 75' TERM HUP PIPE
  wait $follower
}

# Ends the follower. Its number alone may be another process's long since: where the shell that waits for it was killed, nobody keeps it.
end_follower() {
  read_stat $follower && [ "$stat_start" = "$follower_start" ] && kill $follower
}

# Reads on from where the last read ended, for a tail without inotify.
poll_file() {
  exec 7<"$1"
  [ "$2" -eq 0 ] || dd bs=1 skip="$2" count=0 <&7 2>/dev/null
  while cat <&7; do
    if [ -n "$3" ] && ! kill -0 "$3" 2>/dev/null; then
      cat <&7
      return 0
    fi
    nap 0.1
  done
}

self=$0
command=$1
shift
case $command in
  supervise) supervise "$@" ;;
  courier | deliver | send | state | stop | end | request | answer | allowances | revoke | runs | trim | read | place | follow | index) "cmd_$command" "$@" ;;
  *) fail unknown_command ;;
esac
