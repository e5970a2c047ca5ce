"""Clients of a cluster: publishers that number their packets, and subscribers that come back with the last id.

Run in the clients' namespace by trial.py, with a plan as JSON on standard input; the line `finish` ends all meetings. Each client
writes what it was told, with times of the monotonic clock, as JSON lines.
"""

import http.client
import json
import random
import sys
import threading
import time
import zlib
from pathlib import Path

# How long a node may take to answer before the client asks another one.
ANSWER = 3.0
# The node sends a comment each 15 s.
SILENCE = 20.0
# What a client that gives up waits for.
RETRIES = 10.0


def packets_of(path, first):
    """The packets of a recording from one on, without end: after the last comes the first."""
    packets = []
    for line in Path(path).read_text().splitlines():
        packet = json.loads(line)
        if "data" in packet:
            packet["payload"] = packet.pop("data")
        packets.append({key: packet.get(key) for key in ("source", "timestamp", "participant", "payload")})
    return lambda number: packets[(first + number - 1) % len(packets)]


def digest(packet):
    said = [packet.get(key) for key in ("source", "participant", "timestamp", "payload", "payload_text", "producer", "causes")]
    return zlib.crc32(json.dumps(said, sort_keys=True).encode())


class Refused(Exception):
    """The node answered with a problem."""

    def __init__(self, status, problem):
        super().__init__(f"{status} {problem.get('code')}: {problem.get('title')}")
        self.status, self.problem = status, problem

    @property
    def code(self):
        return self.problem.get("code")

    @property
    def is_passing(self):
        return self.status >= 500 or self.status == 429 or self.code in ("not-running", "shut-down", "gone")


class Connection:
    """To one node at a time, and to another one after a failure."""

    def __init__(self, plan, rng):
        self._nodes, self._key, self._rng = plan["nodes"], plan["key"], rng
        self.node = rng.choice(self._nodes)
        self._http = None

    def elsewhere(self):
        self.close()
        others = [node for node in self._nodes if node != self.node]
        self.node = self._rng.choice(others or self._nodes)

    def close(self):
        if self._http is not None:
            self._http.close()
            self._http = None

    def send(self, method, path, body=None, timeout=ANSWER, **headers):
        self._http = self._http or http.client.HTTPConnection(*self.node, timeout=timeout)
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        content = None
        if body is not None:
            headers["Content-Type"], content = "application/json", json.dumps(body)
        self._http.request(method, path, content, headers)
        self._http.sock.settimeout(timeout)
        response = self._http.getresponse()
        if response.status >= 300:
            answer = response.read()
            try:
                problem = json.loads(answer)
            except ValueError:
                problem = {}
            raise Refused(response.status, problem)
        return response

    def ask(self, method, path, body=None, timeout=ANSWER):
        try:
            answer = self.send(method, path, body, timeout).read()
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        return json.loads(answer) if answer else None


class Log:
    def __init__(self, path):
        self._file = open(path, "w", buffering=1 << 16)

    def __call__(self, what, **more):
        self._file.write(json.dumps({"what": what, "at": time.monotonic(), **more}) + "\n")

    def close(self):
        self._file.close()


class Client(threading.Thread):
    def __init__(self, plan, meeting, kind):
        super().__init__(daemon=True)
        self.plan, self.meeting = plan, meeting
        self.rng = random.Random(f"{plan['seed']} {meeting['id']} {kind}")
        self.log = Log(Path(plan["folder"]) / f"{kind}-{meeting['id']}.jsonl")
        self.connection = Connection(plan, self.rng)
        self.path = f"/v1/meetings/{meeting['id']}"

    def run(self):
        try:
            self.work()
        except Exception as error:
            self.log("broken", error=f"{type(error).__name__}: {error}")
        self.connection.close()
        self.log.close()

    def tried(self, what, attempt, limit=120.0):
        """Tries until it is done, at another node each time. Raises what does not pass."""
        began, tries = time.monotonic(), 0
        while True:
            try:
                return attempt()
            except Refused as refused:
                if not refused.is_passing:
                    raise
                error = refused
            except (OSError, http.client.HTTPException) as cut:
                error = cut
            tries += 1
            self.log("failure", of=what, node=self.connection.node[0], error=f"{type(error).__name__}: {error}",
                     after=round(time.monotonic() - began, 3))
            if time.monotonic() - began > limit:
                raise error
            self.connection.elsewhere()
            time.sleep(self.rng.uniform(0, min(1.0, 0.05 * 2 ** min(tries, 6))))


class Publisher(Client):
    """Publishes a recording at a pace. What it could not publish in time follows at once."""

    def __init__(self, plan, meeting, finish):
        super().__init__(plan, meeting, "publisher")
        self.finish = finish
        self.packet = packets_of(meeting["recording"], meeting["first"])
        self.next = 1
        # The newest number that is surely stored.
        self.stored = 0

    def work(self):
        opening = {"id": self.meeting["id"], "plugins": self.plan["plugins"]}
        opened = self.tried("open", lambda: self.connection.ask("POST", "/v1/meetings", opening))
        self.log("opened", opened=opened["opened"])
        interval = 1 / self.plan["rate"]
        due = time.monotonic() + self.rng.uniform(0, interval)
        while not self.finish.is_set():
            if self.finish.wait(max(0.0, due - time.monotonic())):
                break
            due += interval
            # Some publishers wait for the store at each eighth packet only.
            self.publish(self.meeting["durable"] or self.next % 8 == 0)
        while self.stored + 1 < self.next:
            # The number again, now to be stored.
            self.next -= 1
            self.publish(True)
        self.log("published", count=self.next - 1)
        self.tried("end", lambda: self.connection.ask("POST", f"{self.path}/end", {}))
        self.log("ended")

    def publish(self, durable):
        began = time.monotonic()
        until, is_sure = self.next, True

        def attempt():
            nonlocal is_sure
            try:
                if not is_sure and self.rng.random() < 0.5:
                    # How far did it come?
                    path = f"{self.path}/producers/{self.meeting['id']}?durable=true"
                    answer = self.connection.ask("GET", path)
                    self.log("resumed", **{"next": int(answer["next"]), "last_seq": answer["last_seq"]})
                    self.next, is_sure = int(answer["next"]), True
                    if self.next > until:
                        self.told(until, answer["last_seq"], True, began)
                        return
                is_sure = False
                while self.next <= until:
                    self.send(self.next, durable or self.next < until, began)
                    self.next += 1
            except Refused as refused:
                if refused.code != "number-gap":
                    raise
                expected = int(refused.problem["next"])
                self.log("gap", number=self.next, next=expected)
                if not self.stored < expected <= until:
                    raise RuntimeError(f"{expected} is expected, but {self.stored} is stored") from refused
                self.next = expected
                raise

        self.tried_gaps(attempt)

    def tried_gaps(self, attempt):
        while True:
            try:
                return self.tried("publish", attempt)
            except Refused as refused:
                if refused.code != "number-gap":
                    raise

    def send(self, number, durable, began):
        packet = {**self.packet(number), "producer": {"id": self.meeting["id"], "number": number}}
        sent = time.monotonic()
        result = self.connection.ask("POST", f"{self.path}/packets" + ("?durable=true" if durable else ""), packet)
        self.told(number, result["seq"], durable, began, sent=sent, duplicate=result["duplicate"])

    def told(self, number, seq, durable, began, **more):
        if durable:
            self.stored = max(self.stored, number)
        self.log("ack", number=number, seq=str(seq), durable=durable, began=began, node=self.connection.node[0], **more)


class Subscriber(Client):
    """Follows a meeting to its end, from one node to the next."""

    def __init__(self, plan, meeting):
        super().__init__(plan, meeting, "subscriber")
        self.last = ""

    def work(self):
        while not self.tried("follow", self.follow, limit=300.0):
            self.connection.elsewhere()

    def follow(self):
        self.connection.close()
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": self.last} if self.last else {})}
        try:
            # The meeting may not be opened yet.
            response = self.connection.send("GET", f"{self.path}/events", timeout=SILENCE, **headers)
        except Refused as refused:
            if refused.status != 404 or self.last:
                raise
            time.sleep(0.2)
            return False
        self.log("connected", node=self.connection.node[0], after=self.last)
        for kind, name, data in events(response):
            if kind is None:
                packet = json.loads(data)
                if str(packet["seq"]) != name:
                    self.log("mismatch", id=name, seq=packet["seq"])
                self.last = name
                self.log("packet", seq=name, digest=digest(packet))
                continue
            self.log(kind, data=data)
            if kind == "end":
                return True
            if kind in ("again", "error"):
                raise ConnectionError(f"the stream ended with {kind}: {data}")
        raise ConnectionError("the stream was cut")


class Backend(Client):
    """Follows all meetings in one stream, until each has ended."""

    def __init__(self, plan):
        super().__init__(plan, {"id": "all"}, "backend")
        self.places = {}
        self.running = {meeting["id"] for meeting in plan["meetings"]}

    def work(self):
        while self.running:
            self.tried("follow", self.follow, limit=300.0)

    def follow(self):
        self.connection.close()
        body = {"after": self.places, "since": self.plan["since"]}
        response = self.connection.send("POST", "/v1/events", body, timeout=SILENCE, Accept="text/event-stream")
        self.log("connected", node=self.connection.node[0], places=len(self.places))
        for kind, name, data in events(response):
            if kind is None:
                packet = json.loads(data)
                meeting, _, place = name.rpartition(":")
                self.places[meeting] = place
                self.log("packet", meeting=meeting, seq=str(packet["seq"]), digest=digest(packet))
                continue
            self.log(kind, data=data)
            if kind == "again":
                raise ConnectionError(f"the stream ended with again: {data}")
            if kind == "end":
                self.running.discard(json.loads(data)["meeting"])
                if not self.running:
                    return
        raise ConnectionError("the stream was cut")


def events(response):
    """Each event's name, id and data."""
    event = {}
    for line in response:
        name, _, value = line.decode().rstrip("\r\n").partition(":")
        if name:
            event[name] = value.removeprefix(" ")
            continue
        if "data" in event or "event" in event:
            yield event.get("event"), event.get("id"), event.get("data")
        event = {}


def fetch(connection, meeting):
    """All that is stored of a meeting."""
    packets, after = [], None
    while True:
        path = f"/v1/meetings/{meeting['id']}/packets" + (f"?after={after}" if after else "")
        page = connection.ask("GET", path, timeout=30)
        packets += page["packets"]
        after = page["next"]
        if after is None:
            return packets


def fetched(plan, meeting, rng):
    connection = Connection(plan, rng)
    for _ in range(30):
        try:
            return fetch(connection, meeting)
        except (OSError, http.client.HTTPException, Refused) as error:
            print(f"{meeting['id']}: {error}", file=sys.stderr)
            if isinstance(error, Refused) and not error.is_passing:
                return None
            connection.elsewhere()
            time.sleep(1)
    return None


def store(plan, name, meeting, packets):
    with open(Path(plan["folder"]) / f"{name}-{meeting['id']}.jsonl", "w") as file:
        for packet in packets or ():
            file.write(json.dumps({**packet, "digest": digest(packet)}) + "\n")


def live(plan):
    finish = threading.Event()
    publishers = [Publisher(plan, meeting, finish) for meeting in plan["meetings"]]
    subscribers = [Subscriber(plan, meeting) for meeting in plan["meetings"]]
    clients = [Backend(plan), *publishers, *subscribers]
    for client in clients:
        client.start()
        time.sleep(0.02)
    print("started", flush=True)
    for line in sys.stdin:
        if line.strip() == "finish":
            break
    finish.set()
    by = time.monotonic() + plan["ending"]
    for client in clients:
        client.join(max(0.0, by - time.monotonic()))
    hung = [client.meeting["id"] for client in clients if client.is_alive()]
    rng = random.Random(plan["seed"])
    for meeting in plan["meetings"]:
        store(plan, "stored", meeting, fetched(plan, meeting, rng))
    print(json.dumps({"hung": hung}), flush=True)


def reference(plan):
    """The same packets, with nothing to disturb them."""
    connection = Connection(plan, random.Random(0))
    for meeting in plan["meetings"]:
        packet = packets_of(meeting["recording"], meeting["first"])
        path = f"/v1/meetings/{meeting['id']}"
        connection.ask("POST", "/v1/meetings", {"id": meeting["id"], "plugins": plan["plugins"]}, timeout=60)
        packets = [{**packet(number), "producer": {"id": meeting["id"], "number": number}}
                   for number in range(1, meeting["count"] + 1)]
        for first in range(0, len(packets), 50):
            connection.ask("POST", f"{path}/packets", packets[first:first + 50], timeout=60)
        connection.ask("POST", f"{path}/end", {"wait": True}, timeout=60)
        store(plan, "expected", meeting, fetch(connection, meeting))
    print(json.dumps({"hung": []}), flush=True)


if __name__ == "__main__":
    given = json.loads(sys.stdin.readline())
    given["nodes"] = [tuple(node) for node in given["nodes"]]
    {"live": live, "reference": reference}[given["do"]](given)
