"""A node that answers as a real one may, but rarely does: it is busy, behind a proxy, and cuts what it says.

test.py has the clients run against it. Its meetings have one output for each packet, and one at the end.
"""

import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Meeting:
    def __init__(self):
        # What was published and not lost, and for how many outputs it is stored.
        self.packets, self.stored, self.has_ended = [], 0, False

    def outputs(self):
        seqs = [(number * 2, number) for number in range(1, self.stored + 1)]
        return seqs + ([(self.stored * 2 + 2, self.stored)] if self.has_ended else [])


class FlakyNode(ThreadingHTTPServer):
    """Chance decides when it fails. `wrong` has what a client did that it should not have done."""

    daemon_threads = True

    def __init__(self, chance, key):
        super().__init__(("127.0.0.1", 0), Handler)
        self.chance, self.key = chance, key
        self.lock, self.meetings, self.wrong = threading.Condition(), {}, []
        # How often each fault happened, and before when a path is not to be asked for again.
        self.faults, self.not_before = {}, {}
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def happens(self, fault, probability):
        """Whether a fault happens now."""
        with self.lock:
            if self.chance.random() >= probability:
                return False
            self.faults[fault] = self.faults.get(fault, 0) + 1
            return True

    def handle_error(self, request, address):
        # A client that leaves is no error.
        pass


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body, kind="application/json", retry_after=None):
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if retry_after is not None:
            self.send_header("Retry-After", retry_after)
        self.end_headers()
        # It may break off within an answer. The client may not have seen what is cut, such as how long it is to wait.
        if retry_after in (None, "0") and self.server.happens("answer cut", 0.02):
            content = content[: len(content) // 2]
            self.close_connection = True
        self.wfile.write(content)

    def problem(self, status, code, can_retry, retry_after="0", **more):
        # The title has what a careless reader takes for a member.
        document = {"status": status, "title": 'about "next":"7", "code":"x"', "code": code, "can_retry": can_retry, **more}
        self.answer(status, document, "application/problem+json", retry_after if can_retry else None)

    def is_rejected(self):
        """Whether the key is wrong. To ask again does not help."""
        if self.headers["Authorization"] == f"Bearer {self.server.key}":
            return False
        self.problem(401, "unauthorized", False)
        return True

    def fails(self):
        """Fails in a way that passes, before anything is done."""
        happens, not_before = self.server.happens, self.server.not_before
        self.expect(time.monotonic() >= not_before.pop(self.path, 0), "it comes back before `Retry-After`")
        if happens("busy for a second", 0.005):
            # As the client's clock may run.
            not_before[self.path] = time.monotonic() + 0.95
            self.problem(429, "busy", True, retry_after="1")
        elif happens("no answer", 0.03):
            self.close_connection = True
        elif happens("busy", 0.02):
            self.problem(429, "busy", True)
        elif happens("not ready", 0.02):
            self.problem(503, "not-ready", True)
        elif happens("store away", 0.02):
            self.problem(500, "store", True)
        elif happens("not running", 0.02):
            self.problem(409, "not-running", False)
        elif happens("shutting down", 0.01):
            self.problem(410, "shut-down", False)
        elif happens("bad gateway", 0.02):
            self.answer(502, "<p>Bad gateway</p>", "text/html")
        else:
            return False
        return True

    def expect(self, is_right, what):
        if not is_right:
            self.server.wrong.append(f"{self.command} {self.path}: {what}")

    def meeting(self):
        return self.server.meetings[self.path.split("/")[3]]

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.is_rejected() or self.fails():
            return
        if self.path == "/v1/meetings":
            with self.server.lock:
                is_new = body["id"] not in self.server.meetings
                self.server.meetings.setdefault(body["id"], Meeting())
            self.answer(201 if is_new else 200, {"id": body["id"]})
        elif self.path.endswith("/end"):
            self.end(body)
        elif re.search(r"/packets(\?durable=true)?$", self.path):
            self.publish(body)
        else:
            self.expect(False, "there is no such request")
            self.problem(404, "no-route", False)

    def publish(self, packet):
        meeting, number = self.meeting(), packet["producer"]["number"]
        lost = self.server.happens("packets lost", 0.02)
        with self.server.lock:
            if lost:
                # As if it was killed and started again.
                del meeting.packets[meeting.stored :]
            expected = len(meeting.packets) + 1
            if number == expected:
                meeting.packets.append(packet)
            elif number < expected:
                self.expect(meeting.packets[number - 1] == packet, "another packet has the number of an earlier one")
            if number <= expected and ("durable" in self.path or self.server.chance.random() < 0.1):
                meeting.stored = len(meeting.packets)
                self.server.lock.notify_all()
        if number > expected:
            self.problem(409, "number-gap", False, next=str(expected))
        elif self.server.happens("answer lost", 0.03):
            self.close_connection = True
        else:
            self.answer(200, {"seq": str(number * 2 - 1), "duplicate": number < expected})

    def end(self, body):
        meeting = self.meeting()
        with self.server.lock:
            self.expect(body == {"wait": True}, "the end is not waited for")
            self.expect(meeting.stored == len(meeting.packets), "the meeting ends before its packets are stored")
            meeting.has_ended = True
            self.server.lock.notify_all()
        self.answer(200, {"status": "ended"})

    def do_GET(self):
        self.expect(self.path.endswith("/events?outputs=true"), "there is no such request")
        if self.is_rejected() or self.fails():
            return
        last_id = int(self.headers.get("Last-Event-ID", 0))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        if self.events(last_id):
            self.wfile.write(b"0\r\n\r\n")

    def events(self, last_id):
        """Sends events; returns whether the stream ended as it should."""
        meeting, server = self.meeting(), self.server
        end = "\r\n" if server.happens("lines with CR LF", 0.3) else "\n"
        # Lines end in one way within a stream, and a byte order mark may be before them.
        start = "\ufeff" if server.happens("byte order mark", 0.3) else ""
        self.chunk(f"{start}: hello{end}{end}".encode())
        while True:
            with server.lock:
                server.lock.wait_for(lambda: meeting.has_ended or any(seq > last_id for seq, _ in meeting.outputs()), 0.05)
                new = [output for output in meeting.outputs() if output[0] > last_id]
                is_over = meeting.has_ended and not new
            if is_over:
                self.chunk(f"event: end{end}data: {{}}{end}{end}".encode())
                return True
            if not new:
                self.chunk(f":{end}{end}".encode())
            for seq, turns in new:
                if server.happens("stream cut", 0.01):
                    self.chunk(f"id: {seq}{end}data: {{\"seq\": {seq}, \"sou".encode())
                    return False
                if server.happens("stream ended without a word", 0.01):
                    return True
                for last in ("again", "error"):
                    if server.happens(last, 0.01):
                        self.chunk(f'event: {last}{end}data: {{"title": "come back"}}{end}{end}'.encode())
                        return True
                self.send(seq, turns, end)
                last_id = seq

    def send(self, seq, turns, end):
        data = [f'{{"seq":{seq},"source":"talk-time",', f'"payload":{{"participants":["Zo\u00eb \U0001f600"],"turns":{turns}}}}}']
        if self.server.happens("one line of data", 0.5):
            data = ["".join(data)]
        event = "".join([f"id:{seq}{end}", *(f"data: {line}{end}" for line in data), f": a comment{end}", end]).encode()
        # Cut anywhere, in a character or between CR and LF, too.
        at = self.server.chance.randrange(len(event))
        self.chunk(event[:at])
        self.chunk(event[at:])

    def chunk(self, content):
        if content:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(content), content))
            self.wfile.flush()
