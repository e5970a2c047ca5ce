/** Tests of what needs no node. */

// The types of Node would be a dependency.
// @ts-expect-error
import assert from "node:assert/strict";
// @ts-expect-error
import test from "node:test";

import { EventParser, millisecondsOf, type ServerEvent } from "./teammy.ts";

const STREAM = new TextEncoder().encode(
  "\ufeff: a comment\n" +
    'id: 7\ndata: {"text":\ndata:  "h\u00e9 \u{1f600}"}\n\n' +
    "id: 8\r\nevent: note\r\ndata: two\r\n\r\n" +
    "data:three\rid:9\r\r" +
    "id: 1\0\ndata\n\n" +
    "event: nothing\nid: 10\n\n" +
    "unknown: field\ndata: a: b\n\n" +
    "id: 11\ndata: cut off\n",
);

const EVENTS: ServerEvent[] = [
  { type: "message", data: '{"text":\n "h\u00e9 \u{1f600}"}', id: "7" },
  { type: "note", data: "two", id: "8" },
  { type: "message", data: "three", id: "9" },
  { type: "message", data: "", id: "9" },
  { type: "message", data: "a: b", id: "10" },
];

function parsed(pieces: Uint8Array[]): ServerEvent[] {
  const parser = new EventParser();
  return pieces.flatMap((piece) => parser.feed(piece));
}

test("a stream is the same in pieces of any size", () => {
  for (let size = 1; size <= STREAM.length; size += 1) {
    const pieces: Uint8Array[] = [];
    for (let at = 0; at < STREAM.length; at += size) pieces.push(STREAM.subarray(at, at + size));
    assert.deepEqual(parsed(pieces), EVENTS, `pieces of ${size} bytes`);
  }
});

test("a stream is the same cut at any place", () => {
  for (let at = 0; at <= STREAM.length; at += 1) {
    const pieces = [STREAM.subarray(0, at), new Uint8Array(), STREAM.subarray(at)];
    assert.deepEqual(parsed(pieces), EVENTS, `cut at ${at}`);
  }
});

test("an event is there as soon as its blank line is", () => {
  for (const end of ["\n\n", "\r\r", "\r\n\r\n"]) {
    const events = parsed([new TextEncoder().encode(`data: now${end}`)]);
    assert.deepEqual(events, [{ type: "message", data: "now", id: "" }], JSON.stringify(end));
  }
});

test("a stream that goes on keeps the id", () => {
  const events = new EventParser("41").feed(new TextEncoder().encode("data: x\n\n"));
  assert.deepEqual(events, [{ type: "message", data: "x", id: "41" }]);
});

test("bytes that are no UTF-8 are replaced", () => {
  const bytes = Uint8Array.of(...new TextEncoder().encode("data: "), 0xff, 10, 10);
  assert.deepEqual(parsed([bytes]), [{ type: "message", data: "\ufffd", id: "" }]);
});

test("Retry-After is seconds or a date", () => {
  for (const [text, milliseconds] of [[null, 0], ["2", 2000], ["soon", 0], ["Wed, 21 Oct 2015 07:28:00 GMT", 0]] as const) {
    assert.equal(millisecondsOf(text), milliseconds);
  }
  assert.ok(millisecondsOf("Fri, 01 Jan 2100 00:00:00 GMT") > 1e9);
});
