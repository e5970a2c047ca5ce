# shellcheck shell=bash
# A client of a Teammy node: meetings, numbered packets and events over HTTP, with bash and curl alone. To be sourced.
#
# Each function waits while the node is restarted, and can be called again: a meeting has an id, a packet a number, and a
# reader says how far it got. docs/http.md describes the requests.
#
# TEAMMY_URL says where the node is, TEAMMY_KEY which key it is given, TEAMMY_GIVE_UP_AFTER for how many seconds a function
# tries to get ahead: without limit if it is not set.

TEAMMY_URL=${TEAMMY_URL:-http://127.0.0.1:7600}
TEAMMY_URL=${TEAMMY_URL%/}

# How many seconds an answer, or the next line of a stream, may take. A silent stream has a comment each 15 seconds.
teammy_silence=60

# Curl as it is used here: it prints the head, and then the body. The key goes through a pipe, because everybody on a machine
# sees the arguments of a program.
teammy_curl() {
    local before=${teammy_before-}
    if [[ -n ${TEAMMY_KEY:-} ]]; then
        $before curl -q -sS -i --connect-timeout 10 -H @<(printf 'Authorization: Bearer %s\n' "$TEAMMY_KEY") "$@"
    else
        $before curl -q -sS -i --connect-timeout 10 "$@"
    fi
}

# Reads a head from standard input, into the caller's `status` and `retry_after`; 000 is that nobody answered.
teammy_head() {
    local line
    status=000 retry_after=0
    while IFS= read -r -t "$teammy_silence" line; do
        line=${line%$'\r'}
        [[ -n $line ]] || return 0
        if [[ $line =~ ^HTTP/[0-9.]+\ ([0-9]{3}) ]]; then
            status=${BASH_REMATCH[1]}
        elif [[ $line =~ ^[Rr][Ee][Tt][Rr][Yy]-[Aa][Ff][Tt][Ee][Rr]:\ *([0-9]{1,6})$ ]]; then
            retry_after=${BASH_REMATCH[1]}
        fi
    done
    status=000
}

# A string as JSON.
teammy_json() {
    local text=$1
    text=${text//\\/\\\\}
    text=${text//\"/\\\"}
    text=${text//$'\n'/\\n}
    text=${text//$'\r'/\\r}
    text=${text//$'\t'/\\t}
    printf '"%s"' "$text"
}

# A part of a path.
teammy_path() {
    local LC_ALL=C text=$1 at byte
    for ((at = 0; at < ${#text}; at++)); do
        case ${text:at:1} in
        [A-Za-z0-9._~-]) printf '%s' "${text:at:1}" ;;
        *)
            printf -v byte '%d' "'${text:at:1}"
            printf '%%%02X' $((byte & 255))
            ;;
        esac
    done
}

# teammy_member NAME PROBLEM: a member of a problem document, or nothing. They are flat, and these values have no escapes.
teammy_member() {
    if [[ $2 =~ \"$1\":[[:space:]]*\"?([a-z0-9-]+) ]]; then
        printf '%s' "${BASH_REMATCH[1]}"
    fi
}

# Something succeeded: the next wait is a short one. The variables are the caller's.
teammy_begin() {
    tries=0 began=$SECONDS
}

# teammy_wait SECONDS REASON: waits between tries for that long at least, longer each time and never as long as others do, so
# that they do not come all at once. Fails once it is time to give up.
teammy_wait() {
    local longest=$((tries > 5 ? 5000 : 100 << tries)) pause
    tries=$((tries + 1))
    if [[ -n ${TEAMMY_GIVE_UP_AFTER:-} ]] && ((SECONDS - began >= TEAMMY_GIVE_UP_AFTER)); then
        printf 'gave up: %s\n' "$2" >&2
        return 1
    fi
    pause=$(($1 * 1000 + RANDOM * longest / 32767))
    printf -v pause '%d.%03d' $((pause / 1000)) $((pause % 1000))
    printf 'waiting %s s for the node: %s\n' "$pause" "$2" >&2
    sleep "$pause"
}

# teammy_may_pass STATUS ANSWER: whether the same request may succeed later.
teammy_may_pass() {
    case $1:$(teammy_member code "$2") in
    000:* | 429:*) return 0 ;;
    # The node stops, or has started and not yet resumed the meeting: the meeting will run again.
    *:not-running | *:shut-down | *:gone) return 0 ;;
    # A proxy may answer so for a node that is away, without saying anything else.
    502: | 503: | 504:) return 0 ;;
    5*) [[ $(teammy_member can_retry "$2") == true ]] ;;
    *) return 1 ;;
    esac
}

# teammy_request METHOD PATH BODY: sends a request until it is answered, and prints the answer. Fails if it is rejected, and
# prints the problem then.
teammy_request() {
    local tries began said answer status retry_after
    teammy_begin
    while :; do
        # A body that curl announces first would be answered with a head of its own.
        if said=$(teammy_curl --max-time "$teammy_silence" -X "$1" -H 'Content-Type: application/json' -H 'Expect:' \
            --data-binary @- "$TEAMMY_URL$2" 2>&1 <<<"$3"); then
            { teammy_head && answer=$(cat); } <<<"$said"
        else
            # What curl says is behind what the node had said.
            status=000 retry_after=0 answer=${said##*$'\n'}
        fi
        if [[ $status == 2* ]]; then
            printf '%s\n' "$answer"
            return 0
        fi
        if ! teammy_may_pass "$status" "$answer"; then
            printf '%s\n' "$answer"
            return 1
        fi
        teammy_wait "$retry_after" "$answer" || return 1
    done
}

# The same, but a problem goes to standard error.
teammy_call() {
    local answer
    if answer=$(teammy_request "$@"); then
        printf '%s\n' "$answer"
    else
        printf '%s\n' "$answer" >&2
        return 1
    fi
}

# teammy_open MEETING PLUGINS: starts a meeting, or joins or resumes the one of this id. PLUGINS is a list with commas.
teammy_open() {
    local names=
    [[ -z $2 ]] || names="\"${2//,/\",\"}\""
    teammy_call POST /v1/meetings "{\"id\": $(teammy_json "$1"), \"plugins\": [$names]}"
}

# teammy_end MEETING: ends a meeting, and returns once all its plugins have finished. One that has ended is no error.
teammy_end() {
    teammy_call POST "/v1/meetings/$(teammy_path "$1")/end" '{"wait": true}'
}

# teammy_publish MEETING PRODUCER COUNT PACKET: publishes packets with the numbers 1 to COUNT. PACKET is a function that is
# given a number and prints the members of that packet, each time the same: a node that is killed loses what it had not
# stored, and is given it again.
teammy_publish() {
    local path producer number=1 query answer next
    path=/v1/meetings/$(teammy_path "$1")/packets
    producer=$(teammy_json "$2")
    while ((number <= $3)); do
        # Once the last one is stored, all before it are.
        query=
        ((number < $3)) || query='?durable=true'
        if answer=$(teammy_request POST "$path$query" \
            "{$("$4" "$number"), \"producer\": {\"id\": $producer, \"number\": $number}}"); then
            number=$((number + 1))
            continue
        fi
        next=$(teammy_member next "$answer")
        if [[ $(teammy_member code "$answer") != number-gap || -z $next ]]; then
            printf '%s\n' "$answer" >&2
            return 1
        fi
        number=$next
    done
}

# teammy_parse HANDLER [LAST_ID]: reads server-sent events from standard input, and calls HANDLER with the type, the id and the
# data of each one, until it fails. Two things that no node sends are not read as elsewhere: a carriage return alone, which ends
# no line here, and zero bytes, which bash leaves out.
teammy_parse() {
    local line name value kind='' id=${2:-} data='' has_data='' is_first=1
    # The rest of a line whose end is missing was cut off.
    while IFS= read -r -t "$teammy_silence" line; do
        line=${line%$'\r'}
        [[ -z $is_first ]] || line=${line#$'\xef\xbb\xbf'}
        is_first=
        if [[ -z $line ]]; then
            [[ -z $has_data ]] || "$1" "${kind:-message}" "$id" "$data" </dev/null || return
            kind='' data='' has_data=''
            continue
        fi
        name=${line%%:*} value=
        [[ $line != *:* ]] || value=${line#*:}
        value=${value# }
        case $name in
        data) data+=${has_data:+$'\n'}$value has_data=1 ;;
        event) kind=$value ;;
        id) id=$value ;;
        esac
    done
}

# What `teammy_follow` does with an event. The variables are those of `teammy_follow`.
teammy_take() {
    case $1 in
    end) is_done=0 ;;
    again | error) reason="the stream ended with $1: $3" ;;
    message)
        teammy_begin
        last_id=$2
        "$handler" "$2" "$3" && return 0
        is_done=$?
        ;;
    *) return 0 ;;
    esac
    return 1
}

# teammy_follow MEETING QUERY HANDLER [AFTER]: calls HANDLER with the id and the data of each event, each once and in order,
# until the meeting has ended or HANDLER fails. QUERY is such as `outputs=true`, AFTER the id after which to begin. Leaves in
# `teammy_reconnected` how often it connected again.
teammy_follow() {
    local url handler=$3 last_id=${4:-} tries began stream curl status retry_after reason is_done='' was_connected=''
    url="$TEAMMY_URL/v1/meetings/$(teammy_path "$1")/events?$2"
    teammy_reconnected=0
    teammy_begin
    while :; do
        local resume=()
        [[ -z $last_id ]] || resume=(-H "Last-Event-ID: $last_id")
        exec {stream}< <(teammy_before="exec" teammy_curl -N "${resume[@]}" "$url")
        curl=$!
        reason='the stream was cut'
        teammy_head <&"$stream"
        if [[ $status == 200 ]]; then
            teammy_reconnected=$((teammy_reconnected + ${was_connected:-0})) was_connected=1
            # An event that was cut is sent again as a whole.
            teammy_parse teammy_take "$last_id" <&"$stream" || :
        elif [[ $status == 000 ]]; then
            reason='nobody answered'
        else
            reason=$(cat <&"$stream")
            # Half a problem says nothing.
            wait "$curl" || status=000
            teammy_may_pass "$status" "$reason" || is_done=1
        fi
        # Curl ends when it has something to write, or finds that the node is gone.
        exec {stream}<&-
        if [[ -n $is_done ]]; then
            [[ $status == 200 ]] || printf '%s\n' "$reason" >&2
            return "$is_done"
        fi
        teammy_wait "$retry_after" "$reason" || return
    done
}
