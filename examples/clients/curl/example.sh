#!/usr/bin/env bash
# Publishes COUNT packets to MEETING while another process prints what plugins put out, and ends it: example.sh MEETING COUNT
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/teammy.sh"

if [[ $# -ne 2 || ! $2 =~ ^[0-9]+$ ]]; then
    sed -n 2p "${BASH_SOURCE[0]}" >&2
    exit 2
fi
meeting=$1 count=$2

# Packet N is always the same one, so the program can be run again after it was killed: it goes on.
packet() {
    local start=$((($1 - 1) * 1000))
    printf '"source": "transcription", "participant": "Ada", "payload": %s' \
        "{\"text\": \"This is turn $1.\", \"start_ms\": $start, \"end_ms\": $((start + 900)), \"is_final\": true}"
}

received=0 last_seq=0 turns=0 is_increasing=1
print() {
    # A string of JSON has its quotes escaped, so this is a key.
    [[ $2 =~ \"source\":[[:space:]]*\"([^\"]*)\" ]]
    printf '%s %s\n' "$1" "${BASH_REMATCH[1]}"
    ((10#$1 > last_seq)) || is_increasing=
    last_seq=$1 received=$((received + 1))
    # The total is behind the participants' own turns.
    [[ $2 =~ .*\"turns\":[[:space:]]*([0-9]+) ]] && turns=${BASH_REMATCH[1]}
}

reader() {
    teammy_follow "$meeting" outputs=true print
    printf 'published %d, received %d, reconnected %d\n' "$count" "$received" "$teammy_reconnected"
    # The last table is of the whole meeting.
    [[ -n $is_increasing && $turns == "$count" ]]
}

teammy_open "$meeting" talk-time >/dev/null
reader &
trap 'kill $! 2>/dev/null || :' EXIT
teammy_publish "$meeting" example "$count" packet
teammy_end "$meeting" >/dev/null
wait $!
