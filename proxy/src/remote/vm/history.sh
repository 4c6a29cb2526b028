
# What a log says before a place, so that it can be read from the middle as if it were read from its beginning.

# A range of a log: "SIZE BEFORE" (bytes of what follows), then what the lines before the range mean to a decoder (nothing
# unless $4 is 1), then the bytes. A line that begins before the range and ends in it counts as before it. Arguments: log,
# first byte from 0, length, 1|0.
cmd_read() {
  [ -e "$1" ] || fail log_gone
  before=
  if [ "$4" = 1 ]; then
    before=$(head -c $(($2 + $(tail -c +$(($2 + 1)) "$1" | head -n 1 | wc -c))) "$1" | meaning)
    [ -z "$before" ] || before="$before
"
  fi
  size=$(wc -c <"$1" | tr -d ' ')
  printf '%s %s\n%s' "$size" ${#before} "$before"
  tail -c +$(($2 + 1)) "$1" | head -c "$3"
}

# The lines of standard input that a later line's meaning may depend on, each cut down to that: turns, answers, costs,
# requests for permission and what closes them.
meaning() {
  grep -aE '^\{"type":"(result|user|catalyst_turn|control_request|control_cancel_request|control_response|system","subtype":"init|stream_event","event":\{"type":"message_start)".*\}$|^\{"response":\{"request_id":.*"type":"control_response"\}$' |
    sed -nE '
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
