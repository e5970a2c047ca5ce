"""Tests of what needs no node: python3 -m unittest, in this folder."""

import unittest

from teammy import Event, EventParser, seconds_of

STREAM = (
    "\ufeff: a comment\n"
    'id: 7\ndata: {"text":\ndata:  "h\u00e9 \U0001f600"}\n\n'
    "id: 8\r\nevent: note\r\ndata: two\r\n\r\n"
    "data:three\rid:9\r\r"
    "id: 1\0\ndata\n\n"
    "event: nothing\nid: 10\n\n"
    "unknown: field\ndata: a: b\n\n"
    "id: 11\ndata: cut off\n"
).encode()

EVENTS = [
    Event("message", '{"text":\n "h\u00e9 \U0001f600"}', "7"),
    Event("note", "two", "8"),
    Event("message", "three", "9"),
    Event("message", "", "9"),
    Event("message", "a: b", "10"),
]


def parsed(pieces):
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)]


class EventParserTest(unittest.TestCase):
    def test_a_stream_is_the_same_in_pieces_of_any_size(self):
        for size in range(1, len(STREAM) + 1):
            pieces = [STREAM[at : at + size] for at in range(0, len(STREAM), size)]
            self.assertEqual(parsed(pieces), EVENTS, f"pieces of {size} bytes")

    def test_a_stream_is_the_same_cut_at_any_place(self):
        for at in range(len(STREAM) + 1):
            self.assertEqual(parsed([STREAM[:at], b"", STREAM[at:]]), EVENTS, f"cut at {at}")

    def test_an_event_is_there_as_soon_as_its_blank_line_is(self):
        for end in ("\n\n", "\r\r", "\r\n\r\n"):
            self.assertEqual(parsed([f"data: now{end}".encode()]), [Event("message", "now", "")], repr(end))

    def test_a_stream_that_goes_on_keeps_the_id(self):
        parser = EventParser("41")
        self.assertEqual(parser.feed(b"data: x\n\n"), [Event("message", "x", "41")])

    def test_bytes_that_are_no_utf_8_are_replaced(self):
        self.assertEqual(parsed([b"data: \xff\n\n"]), [Event("message", "\ufffd", "")])


class RetryAfterTest(unittest.TestCase):
    def test_retry_after_is_seconds_or_a_date(self):
        for text, seconds in [(None, 0), ("2", 2), ("soon", 0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0)]:
            self.assertEqual(seconds_of(text), seconds, text)
        self.assertGreater(seconds_of("Fri, 01 Jan 2100 00:00:00 GMT"), 1e6)


if __name__ == "__main__":
    unittest.main()
