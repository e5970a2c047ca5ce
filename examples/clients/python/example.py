"""Publishes COUNT packets to MEETING while a thread prints what plugins put out, and ends it: example.py MEETING COUNT."""

import os
import sys
import threading

from teammy import Client, GaveUp, Problem


class Reader(threading.Thread):
    """Prints the outputs of a meeting, and keeps what is to be checked."""

    def __init__(self, client, meeting):
        super().__init__(daemon=True)
        self.subscription = client.subscribe(meeting, outputs=True)
        self.seqs, self.last_table, self.error = [], {}, None

    def run(self):
        try:
            for event in self.subscription:
                packet = event.packet
                print(packet["seq"], packet["source"], flush=True)
                self.seqs.append(packet["seq"])
                self.last_table = packet["payload"]
        except (Problem, GaveUp) as error:
            self.error = error


def main(meeting, count):
    client = Client(os.environ.get("TEAMMY_URL") or "http://127.0.0.1:7600", os.environ.get("TEAMMY_KEY"))
    client.open_meeting(meeting, plugins=["talk-time"])
    reader = Reader(client, meeting)
    reader.start()

    # Packet N always has number N, so the program can be run again after it was killed: it goes on.
    publisher = client.publisher(meeting, "example")
    for turn in range(count):
        said = {"text": f"This is turn {turn + 1}.", "start_ms": turn * 1000, "end_ms": turn * 1000 + 900, "is_final": True}
        publisher.publish("transcription", said, participant="Ada", durable=False)
    # What is not stored when the meeting ends could not be sent again.
    publisher.flush()

    client.end_meeting(meeting)
    reader.join()
    if reader.error:
        raise reader.error
    print(f"published {count}, received {len(reader.seqs)}, reconnected {reader.subscription.reconnected}")
    is_increasing = all(seq < later for seq, later in zip(reader.seqs, reader.seqs[1:]))
    # The last table is of the whole meeting.
    return 0 if is_increasing and reader.last_table.get("turns") == count else 1


if __name__ == "__main__":
    if len(sys.argv) != 3 or not sys.argv[2].isdecimal():
        sys.exit(__doc__)
    try:
        sys.exit(main(sys.argv[1], int(sys.argv[2])))
    except (Problem, GaveUp) as error:
        sys.exit(f"error: {error}")
