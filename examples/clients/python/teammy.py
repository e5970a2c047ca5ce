"""A client of a Teammy node: meetings, numbered packets and events over HTTP, with the standard library alone.

Each call waits while the node is restarted, and can be made again: a meeting has an id, a packet a number, and a reader
says how far it got. docs/http.md describes the requests.
"""

import email.utils
import http.client
import json
import logging
import random
import threading
import time
from collections import deque
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from urllib.parse import quote, urlencode, urlsplit

log = logging.getLogger("teammy")

# How long an answer, or the next byte of one, may take. A silent stream of events has a comment each 15 seconds.
SILENCE = 60.0

# The node stops, or has started and not yet resumed the meeting: the meeting will run again.
PASSING = {"not-running", "shut-down", "gone"}

# A proxy may answer so for a node that is away, without saying anything else.
PROXY_STATUSES = {502, 503, 504}

# How many packets a publisher keeps before it waits until they are stored.
MOST_UNSTORED = 256


class Problem(Exception):
    """A request was rejected; to send it again would not help."""

    def __init__(self, status, document, retry_after, is_certain):
        super().__init__(document.get("title") or f"the node answered {status}")
        self.status = status
        self.code = document.get("code")
        self.can_retry = document.get("can_retry") is True
        self.retry_after = retry_after
        # The number that the meeting expects, of the code `number-gap`.
        self.next = int(document["next"]) if document.get("next") else None
        # Whether nothing was done. If not, an earlier try, whose answer was lost, may have been carried out.
        self.is_certain = is_certain

    @property
    def is_passing(self):
        """Whether the same request may succeed later."""
        if self.status == 429 or self.code in PASSING:
            return True
        return self.status >= 500 and (self.can_retry or (self.code is None and self.status in PROXY_STATUSES))


class GaveUp(Exception):
    """The node could not be reached, or did not get ready, for as long as the caller wanted to wait."""


class Patience:
    """Waits between tries, longer each time and never as long as others do, so that they do not come all at once."""

    def __init__(self, give_up_after):
        self._give_up_after = give_up_after
        self.reset()

    def reset(self):
        """Something succeeded: the next wait is a short one."""
        self._tries = 0
        self._began = time.monotonic()

    def wait(self, cause):
        longest = min(5.0, 0.1 * 2 ** min(self._tries, 10))
        self._tries += 1
        # What the node asks for is the least.
        pause = (getattr(cause, "retry_after", None) or 0.0) + random.uniform(0, longest)
        if self._give_up_after is not None:
            left = self._began + self._give_up_after - time.monotonic()
            if left <= 0:
                raise GaveUp(f"gave up after {self._give_up_after} s: {cause}") from cause
            pause = min(pause, left)
        log.warning("waiting %.1f s for the node: %s", pause, cause)
        time.sleep(pause)


class Client:
    """A node. Threads may share it; each has a connection of its own.

    `give_up_after` says for how many seconds a call tries to get ahead; None is without limit.
    """

    def __init__(self, url="http://127.0.0.1:7600", key=None, give_up_after=None):
        address = urlsplit(url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ValueError(f"{url!r} is no URL of a node, such as http://127.0.0.1:7600")
        self._address = address
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._give_up_after = give_up_after
        self._local = threading.local()

    def open_meeting(self, meeting, plugins=(), **more):
        """Starts a meeting, or joins or resumes the one of this id. `more` is `title`, `labels` or `started_at`."""
        return self.request("POST", "/v1/meetings", {"id": meeting, "plugins": list(plugins), **more})

    def publisher(self, meeting, producer, first=1):
        """Publishes to a meeting. No other program may publish under the same `producer` meanwhile."""
        return Publisher(self, meeting, producer, first)

    def subscribe(self, meeting, *, after=None, outputs=False, sources=()):
        """Follows a meeting from its first packet on, or after the packet with the seq `after`."""
        return Subscription(self, meeting, after, outputs, sources)

    def end_meeting(self, meeting):
        """Ends a meeting, and returns once all its plugins have finished. A meeting that has ended is no error."""
        return self.request("POST", f"{path_of(meeting)}/end", {"wait": True})

    def request(self, method, path, body=None):
        """Sends a request until it is answered, and returns the JSON of the answer."""
        patience = Patience(self._give_up_after)
        is_certain = True
        while True:
            try:
                return self._once(method, path, body, is_certain)
            except Problem as problem:
                if not problem.is_passing:
                    raise
                is_certain = is_certain and problem.status in (409, 429)
                patience.wait(problem)
            except (OSError, http.client.HTTPException) as error:
                is_certain = False
                patience.wait(error)

    def _once(self, method, path, body, is_certain):
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self.connect()
        try:
            content = None if body is None else json.dumps(body).encode()
            headers = {**self._headers, **({} if body is None else {"Content-Type": "application/json"})}
            connection.request(method, self._address.path.rstrip("/") + path, content, headers)
            with connection.getresponse() as response:
                answer = response.read()
        except (OSError, http.client.HTTPException):
            # What was left of this exchange is not the answer to the next one.
            connection.close()
            raise
        if response.status >= 300:
            raise problem_of(response, answer, is_certain)
        return json.loads(answer) if answer else None

    def connect(self):
        kind = http.client.HTTPSConnection if self._address.scheme == "https" else http.client.HTTPConnection
        return kind(self._address.hostname, self._address.port, timeout=SILENCE)

    def stream(self, connection, path, last_id):
        """Asks for events; returns the response to read them from."""
        headers = {**self._headers, "Accept": "text/event-stream"}
        if last_id:
            headers["Last-Event-ID"] = last_id
        connection.request("GET", self._address.path.rstrip("/") + path, headers=headers)
        response = connection.getresponse()
        if response.status != 200:
            raise problem_of(response, response.read(), is_certain=True)
        return response

    def patience(self):
        return Patience(self._give_up_after)


def path_of(meeting):
    return f"/v1/meetings/{quote(meeting, safe='')}"


def problem_of(response, answer, is_certain):
    try:
        document = json.loads(answer)
    except ValueError:
        document = None
    retry_after = seconds_of(response.getheader("Retry-After"))
    return Problem(response.status, document if isinstance(document, dict) else {}, retry_after, is_certain)


def seconds_of(retry_after):
    """`Retry-After` is a number of seconds, or a date."""
    try:
        if retry_after is None or retry_after.strip().isdecimal():
            return float(retry_after or 0)
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return 0.0


class Publisher:
    """Numbers packets and sends them again until the meeting has them: none is lost, none is there twice.

    It is for one thread. A program that is restarted goes on with the number of its next packet, `first`; with a number
    that was used before, the node takes a packet for the earlier one.
    """

    def __init__(self, client, meeting, producer, first=1):
        self._client = client
        self._path = f"{path_of(meeting)}/packets"
        self._producer = producer
        self._next = first
        # The newest packets: all that may not be stored. A node that is killed loses what it had not stored.
        self._unstored = deque()

    def publish(self, source, payload, participant=None, timestamp=None, durable=True):
        """Publishes a packet with a JSON payload. `durable=False` does not wait until it is stored; `flush` does."""
        packet = {
            "source": source,
            # Each try sends the same packet.
            "timestamp": timestamp or datetime.now(timezone.utc).isoformat(),
            "participant": participant,
            "payload": payload,
            "producer": {"id": self._producer, "number": self._next},
        }
        self._unstored.append(packet)
        self._next += 1
        try:
            return self._send(durable or len(self._unstored) >= MOST_UNSTORED)
        except Problem as problem:
            # The meeting does not have the packet, so the next one gets its number. If that is not certain, it is kept
            # and sent with the next one: another packet under its number might be taken for this one.
            if problem.is_certain and problem.status < 500:
                self._unstored.pop()
                self._next -= 1
            raise

    def flush(self):
        """Returns once all that was published is stored."""
        if self._unstored:
            self._send(durable=True)

    def _send(self, durable):
        """Sends the newest packet, and before it those that the meeting lost."""
        path = self._path + ("?durable=true" if durable else "")
        at = len(self._unstored) - 1
        while at < len(self._unstored):
            try:
                result = self._client.request("POST", path, self._unstored[at])
                at += 1
            except Problem as problem:
                if problem.code != "number-gap":
                    raise
                oldest = self._unstored[0]["producer"]["number"]
                if problem.next is None or not oldest <= problem.next < oldest + at:
                    # Older than what is kept: `first` is to be `problem.next`, or the database is another one.
                    raise
                at = problem.next - oldest
        if durable:
            self._unstored.clear()
        return result


@dataclass(frozen=True)
class Event:
    """An event of a stream. A packet's `id` is its seq."""

    type: str
    data: str
    id: str

    @property
    def packet(self):
        return json.loads(self.data)


class EventParser:
    """Takes a stream of server-sent events in pieces of any size. Reconnection times (`retry`) are left out."""

    def __init__(self, last_id=""):
        self._last_id = last_id
        self._line = bytearray()
        self._is_first = True
        self._ended_with_cr = False
        self._type, self._data = "", []

    def feed(self, piece):
        """Returns the events that are complete now."""
        events = []
        if self._ended_with_cr and piece[:1] == b"\n":
            piece = piece[1:]
            self._ended_with_cr = False
        if not piece:
            return events
        self._ended_with_cr = piece.endswith(b"\r")
        *ends, rest = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for end in ends:
            # A line is decoded as a whole, so a character that was cut is whole again.
            line = (bytes(self._line) + end).decode("utf-8", "replace")
            self._line.clear()
            if self._is_first:
                line = line.removeprefix("\ufeff")
                self._is_first = False
            self._take(line, events)
        self._line += rest
        return events

    def _take(self, line, events):
        if not line:
            if self._data:
                events.append(Event(self._type or "message", "\n".join(self._data), self._last_id))
            self._type, self._data = "", []
            return
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._type = value
        elif name == "id" and "\0" not in value:
            self._last_id = value
        # A comment has no name.


class Subscription:
    """The packets of a meeting, each once and in order, until the meeting has ended. Iterate over it once."""

    def __init__(self, client, meeting, after, outputs, sources):
        self._client = client
        query = {**({"outputs": "true"} if outputs else {}), **({"sources": ",".join(sources)} if sources else {})}
        self._path = f"{path_of(meeting)}/events" + (f"?{urlencode(query)}" if query else "")
        # What to give as `after` to go on later.
        self.last_id = "" if after is None else str(after)
        self.reconnected = 0
        self._was_connected = False

    def __iter__(self):
        patience = self._client.patience()
        while True:
            try:
                # A stream that ends without a word was cut.
                cause = ConnectionError("the stream was cut")
                for event in self._connected():
                    if event.type == "end":
                        return
                    if event.type in ("again", "error"):
                        cause = ConnectionError(f"the stream ended with {event.type}: {event.data}")
                        break
                    if event.type != "message":
                        continue
                    patience.reset()
                    self.last_id = event.id
                    yield event
            except Problem as problem:
                if not problem.is_passing:
                    raise
                cause = problem
            except (OSError, http.client.HTTPException) as error:
                cause = error
            patience.wait(cause)

    def _connected(self):
        with closing(self._client.connect()) as connection:
            response = self._client.stream(connection, self._path, self.last_id)
            self.reconnected += self._was_connected
            self._was_connected = True
            # An event that was cut is sent again as a whole.
            parser = EventParser(self.last_id)
            while piece := response.read1(65536):
                yield from parser.feed(piece)
