
# What a log says before a place, so that it can be read from the middle as if it were read from its beginning.

# A range of a log: "SIZE BEFORE" (bytes of what follows), then what the lines before the range mean to a decoder (nothing
# unless $4 is 1), then the bytes. A line that begins before the range and ends in it counts as before it. Arguments: log,
# first byte from 0, length, 1|0.
cmd_read() {
  [ -e "$1" ] || fail log_gone
  before=
  if [ "$4" = 1 ]; then
    before=$(before_byte "$1" $(($2 + $(tail -c +$(($2 + 1)) "$1" | head -n 1 | wc -c))))
    [ -z "$before" ] || before="$before
"
  fi
  size=$(wc -c <"$1" | tr -d ' ')
  printf '%s %s\n%s' "$size" ${#before} "$before"
  tail -c +$(($2 + 1)) "$1" | head -c "$3"
}

# What the first $2 bytes of log $1 mean. Of what is before the last result, only turns and results still count: where they are
# is kept beside the log, so that whoever pages back has nothing searched twice.
before_byte() {
  if ! echo x | grep -b x >/dev/null 2>&1; then
    head -c "$2" "$1" | meaning
    return
  fi
  turns_until "$1" "$2" | {
    from=0 held=
    while IFS=' ' read -r at said && [ "$at" != end ] && [ "$at" -lt "$2" ]; do
      case $said in '{"type":"result"'*)
        printf '%s' "$held"
        from=$at held=
        ;;
      esac
      held=$held$said$newline
    done
    # The last result is in here.
    tail -c +$((from + 1)) "$1" | head -c $(($2 - from)) | meaning
  }
}

# The turns and results of log $1 up to byte $2 or beyond: "OFFSET LINE" each, then "end". Where they cannot be kept there are fewer,
# or none: then more has its meaning read. The file that keeps them says first how far it goes, and again when it is whole.
turns_until() {
  kept=${1%/*}/.turns upto=0
  kept_until "$1"
  if [ "$upto" -lt "$2" ] && keep_turns "$1" "$2" 2>/dev/null; then
    kept_until "$1"
  fi
  [ "$upto" -eq 0 ] || tail -n +2 "$kept"
}

# Sets upto to where file $kept goes in log $1; 0 if it is not whole, or says more than the log: after a power failure that may be
# shorter than it was, and go on with other lines.
kept_until() {
  upto=0
  { read -r upto <"$kept"; } 2>/dev/null
  case $upto in '' | *[!0-9]*) upto=0 ;; esac
  [ "$upto" -eq 0 ] && return
  [ "$(tail -n 1 "$kept")" = "end $upto" ] && ends_line "$1" "$upto" || upto=0
}

# Whether byte $2 of log $1 is there and ends a line.
ends_line() {
  [ "$(tail -c +"$2" "$1" | head -c 1 | wc -l)" -eq 1 ]
}

# Has file $kept go on from $upto to the last line of log $1 that ends before byte $2 or there. What is not written whole is not kept.
keep_turns() {
  # What Claude still writes is for the next time.
  last=0
  ends_line "$1" "$2" || last=$(tail -c +$((upto + 1)) "$1" | head -c $(($2 - upto)) | tail -n 1 | wc -c)
  {
    echo $(($2 - last)) &&
      { [ "$upto" -eq 0 ] || sed -e 1d -e '$d' "$kept"; } &&
      tail -c +$((upto + 1)) "$1" | head -c $(($2 - last - upto)) | turns | {
        while IFS=' ' read -r at said; do
          printf '%s %s\n' $((at + upto)) "$said" || exit 1
        done
      } &&
      echo "end $(($2 - last))"
  } >"$kept.$$" && mv -f "$kept.$$" "$kept" && return
  rm -f "$kept.$$"
  return 1
}

# Lines that the proxy does not keep whole, which are those over 1 MiB, cut down to their beginnings behind a plus sign: they mean no more to
# anybody. $1: what ends the place before each line, if there is one.
beginnings() {
  awk -v ends="$1" '
    { at = ends == "" ? 0 : index($0, ends) }
    length($0) - at > 1048576 { $0 = substr($0, 1, at) "+" substr($0, at + 1, 4096) }
    { print }'
}

# Those of standard input: each line's place, and the line cut down to what it means.
turns() {
  grep -abF -e '{"type":"result"' -e '{"type":"catalyst_turn"' -e '"subtype":"init' -e '"isReplay":true' -e '"text":"[Request interrupted' |
    beginnings : | sed -nE '
s/^([0-9]+):\+\{"type":"catalyst_turn".*/\1 {"type":"catalyst_turn"}/p
s/^([0-9]+):\+\{"type":"result".*/\1 {"type":"result"}/p
/\}$/!d
s/^([0-9]+):\{"type":"catalyst_turn".*/\1 {"type":"catalyst_turn"}/p
s/^([0-9]+):\{"type":"system","subtype":"init.*/\1 {"type":"system","subtype":"init"}/p
s/^([0-9]+):\{"type":"result".*"total_cost_usd":([0-9][0-9.eE+-]*).*/\1 {"type":"result","total_cost_usd":\2}/p
s/^([0-9]+):\{"type":"result".*/\1 {"type":"result"}/p
s/^([0-9]+):\{"type":"user".*"isReplay":true.*/\1 {"type":"user","message":{},"isReplay":true}/p
s/^([0-9]+):\{"type":"user".*"text":"\[Request interrupted.*/\1 {"type":"user","message":{"content":[{"type":"text","text":"[Request interrupted"}]}}/p'
}

# The lines of standard input that a later line's meaning may depend on, each cut down to that: turns, answers, costs,
# requests for permission and what closes them.
meaning() {
  grep -aE '^\{"type":"(result|user|catalyst_turn|control_request|control_cancel_request|control_response|system","subtype":"init|stream_event","event":\{"type":"message_start)"|^\{"response":\{"request_id":' |
    beginnings '' | sed -nE '
/^\+/{
s/^\+\{"type":"catalyst_turn".*/={"type":"catalyst_turn"}/p
s/^\+\{"type":"result".*/={"type":"result"}/p
/"can_use_tool"/s/^\+\{"type":"control_request","request_id":"([^"\\]*)".*/={"type":"control_request","request_id":"\1","request":{"subtype":"can_use_tool"}}/p
/^\+\{"type":"user"/s/"tool_use_id":"([^"\\]*)"/\
={"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"\1"}]}}\
/p
d
}
/\}$/!d
/^\{"response"/{
/"type":"control_response"\}$/!d
}
s/^\{"type":"catalyst_turn".*/={"type":"catalyst_turn"}/p
s/^\{"type":"system".*/={"type":"system","subtype":"init"}/p
s/^\{"type":"stream_event".*/=&/p
s/^\{"type":"result".*"total_cost_usd":([0-9][0-9.eE+-]*).*/={"type":"result","total_cost_usd":\1}/p
s/^\{"type":"result".*/={"type":"result"}/p
s/^\{"type":"control_request","request_id":"([^"\\]*)","request":\{"subtype":"can_use_tool".*"tool_use_id":"([^"\\]*)".*/={"type":"control_request","request_id":"\1","request":{"subtype":"can_use_tool","tool_use_id":"\2"}}/p
s/^\{"type":"control_request","request_id":"([^"\\]*)","request":\{"subtype":"can_use_tool".*/={"type":"control_request","request_id":"\1","request":{"subtype":"can_use_tool"}}/p
s/^\{"type":"control_cancel_request","request_id":"([^"\\]*)".*/={"type":"control_cancel_request","request_id":"\1"}/p
s/^\{("type":"control_response",)?"response":\{("subtype":"[a-z_]*",)?"request_id":"([^"\\]*)".*/={"type":"control_response","response":{"request_id":"\3"}}/p
s/^\{"type":"user".*"isReplay":true.*/={"type":"user","message":{},"isReplay":true}/p
/^\{"type":"user"/{
s/"text":"\[Request interrupted/\
={"type":"user","message":{"content":[{"type":"text","text":"[Request interrupted"}]}}\
/
s/"tool_use_id":"([^"\\]*)"/\
={"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"\1"}]}}\
/g
p
}' | sed -n 's/^=//p'
}

# Where request $2 for permission stands in log $1: "START END", the bytes of its line; nothing if it is not there.
cmd_place() {
  at=$(grep -anF "\"request_id\":\"$2\"" "$1" | grep -aE '^[0-9]+:\{"type":"control_request"' | head -n 1 | cut -d: -f1)
  [ -n "$at" ] || return 0
  printf '%s %s\n' $(head -n $((at - 1)) "$1" | wc -c) $(head -n "$at" "$1" | wc -c)
}
