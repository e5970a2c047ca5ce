/**
 * A client of a Teammy node: meetings, numbered packets and events over HTTP, with nothing but `fetch`.
 *
 * Each call waits while the node is restarted, and can be made again: a meeting has an id, a packet a number, and a reader
 * says how far it got. docs/http.md describes the requests. All types can be erased, so the file runs as it is where
 * types are stripped.
 */

/** How long an answer, or the next byte of one, may take, in ms. A silent stream of events has a comment each 15 seconds. */
const SILENCE = 60_000;

/** The node stops, or has started and not yet resumed the meeting: the meeting will run again. */
const PASSING = ["not-running", "shut-down", "gone"];

/** A proxy may answer so for a node that is away, without saying anything else. */
const PROXY_STATUSES = [502, 503, 504];

/** How many packets a publisher keeps before it waits until they are stored. */
const MOST_UNSTORED = 256;

/** What a node says about an error. */
interface ProblemDocument {
  title?: string;
  code?: string;
  can_retry?: boolean;
  next?: string;
}

/** A request was rejected; to send it again would not help. */
export class Problem extends Error {
  readonly status: number;
  readonly code: string | undefined;
  readonly canRetry: boolean;
  /** In ms. */
  readonly retryAfter: number;
  /** The number that the meeting expects, of the code `number-gap`. */
  readonly next: number | undefined;
  /** Whether nothing was done. If not, an earlier try, whose answer was lost, may have been carried out. */
  readonly isCertain: boolean;

  constructor(status: number, document: ProblemDocument, retryAfter: number, isCertain: boolean) {
    super(document.title ?? `the node answered ${status}`);
    this.name = "Problem";
    this.status = status;
    this.code = document.code;
    this.canRetry = document.can_retry === true;
    this.retryAfter = retryAfter;
    this.next = document.next === undefined ? undefined : Number(document.next);
    this.isCertain = isCertain;
  }

  /** Whether the same request may succeed later. */
  get isPassing(): boolean {
    if (this.status === 429 || (this.code !== undefined && PASSING.includes(this.code))) return true;
    return this.status >= 500 && (this.canRetry || (this.code === undefined && PROXY_STATUSES.includes(this.status)));
  }
}

/** The node could not be reached, or did not get ready, for as long as the caller wanted to wait. */
export class GaveUp extends Error {
  constructor(cause: Error) {
    super(`gave up: ${cause.message}`, { cause });
    this.name = "GaveUp";
  }
}

/** The connection failed, or was silent for too long. */
class Cut extends Error {
  constructor(cause: unknown) {
    // What `fetch` throws says why in its own cause.
    const reason = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
    super(reason instanceof Error ? reason.message || reason.name : String(reason), { cause });
    this.name = "Cut";
  }
}

export interface Options {
  /** Where the node is; http://127.0.0.1:7600 if left out. */
  url?: string | undefined;
  /** The key that the node asks for. */
  key?: string | undefined;
  /** For how long a call tries to get ahead, in ms; without limit if left out. */
  giveUpAfter?: number | undefined;
  /** Is told of each wait. */
  onWait?: (cause: Error, pause: number) => void;
}

export interface Packet {
  source: string;
  payload: unknown;
  participant?: string;
  /** When it happened, RFC 3339; now if left out. */
  timestamp?: string;
}

export interface Published {
  seq: string;
  /** Whether the meeting had the packet before. */
  duplicate: boolean;
}

export interface Opening {
  plugins?: string[];
  title?: string;
  labels?: Record<string, string>;
  started_at?: string;
}

export interface Following {
  /** The seq after which to begin; the meeting's beginning if left out. */
  after?: string;
  /** Leaves out all but what plugins put out. */
  outputs?: boolean;
  sources?: string[];
}

/** Waits between tries, longer each time and never as long as others do, so that they do not come all at once. */
class Patience {
  private readonly options: Options;
  private tries = 0;
  private began = performance.now();

  constructor(options: Options) {
    this.options = options;
  }

  /** Something succeeded: the next wait is a short one. */
  reset(): void {
    this.tries = 0;
    this.began = performance.now();
  }

  async wait(cause: Error): Promise<void> {
    const longest = Math.min(5_000, 100 * 2 ** Math.min(this.tries, 10));
    this.tries += 1;
    // What the node asks for is the least.
    let pause = (cause instanceof Problem ? cause.retryAfter : 0) + Math.random() * longest;
    if (this.options.giveUpAfter !== undefined) {
      const left = this.began + this.options.giveUpAfter - performance.now();
      if (left <= 0) throw new GaveUp(cause);
      pause = Math.min(pause, left);
    }
    this.options.onWait?.(cause, pause);
    await new Promise((done) => setTimeout(done, pause));
  }
}

/** A node. */
export class Client {
  private readonly base: string;
  private readonly options: Options;

  constructor(options: Options = {}) {
    const url = options.url ?? "http://127.0.0.1:7600";
    if (!/^https?:$/.test(new URL(url).protocol)) throw new TypeError(`${url} is no URL of a node`);
    this.base = url.replace(/\/+$/, "");
    this.options = options;
  }

  /** Starts a meeting, or joins or resumes the one of this id. */
  async openMeeting(meeting: string, opening: Opening = {}): Promise<unknown> {
    return this.request("POST", "/v1/meetings", { id: meeting, ...opening });
  }

  /** Publishes to a meeting. No other program may publish under the same `producer` meanwhile. */
  publisher(meeting: string, producer: string, first = 1): Publisher {
    return new Publisher(this, meeting, producer, first);
  }

  /** Follows a meeting from its first packet on, or after the packet with the seq `after`. */
  subscribe(meeting: string, following: Following = {}): Subscription {
    return new Subscription(this, meeting, following);
  }

  /** Ends a meeting, and returns once all its plugins have finished. A meeting that has ended is no error. */
  async endMeeting(meeting: string): Promise<unknown> {
    return this.request("POST", `${pathOf(meeting)}/end`, { wait: true });
  }

  /** Sends a request until it is answered, and returns the JSON of the answer. */
  async request(method: string, path: string, body?: unknown): Promise<unknown> {
    const patience = this.patience();
    const headers = this.headers(body === undefined ? {} : { "Content-Type": "application/json" });
    const content = body === undefined ? null : JSON.stringify(body);
    for (let isCertain = true; ; ) {
      const failed = await this.once(method, path, headers, content, isCertain);
      if ("answer" in failed) return failed.answer;
      if (failed.error instanceof Problem) {
        if (!failed.error.isPassing) throw failed.error;
        isCertain = isCertain && [409, 429].includes(failed.error.status);
      } else {
        isCertain = false;
      }
      await patience.wait(failed.error);
    }
  }

  private async once(
    method: string,
    path: string,
    headers: Headers,
    body: string | null,
    isCertain: boolean,
  ): Promise<{ answer: unknown } | { error: Problem | Cut }> {
    let response: Response;
    let answer: string;
    try {
      const signal = AbortSignal.timeout(SILENCE);
      response = await fetch(this.base + path, { method, headers, body, signal, redirect: "error" });
      answer = await response.text();
    } catch (error) {
      return { error: new Cut(error) };
    }
    if (!response.ok) return { error: problemOf(response, answer, isCertain) };
    return { answer: answer === "" ? undefined : JSON.parse(answer) };
  }

  /** The pieces of a stream of events, as they come. */
  async *stream(path: string, lastId: string, onConnected: () => void): AsyncGenerator<Uint8Array> {
    const headers = this.headers({ Accept: "text/event-stream" });
    if (lastId !== "") headers.set("Last-Event-ID", lastId);
    const abort = new AbortController();
    const silence = new Timer(() => abort.abort(new Error("the stream was silent for too long")));
    try {
      silence.restart();
      const response = await cut(fetch(this.base + path, { headers, signal: abort.signal, redirect: "error" }));
      if (response.status !== 200) throw problemOf(response, await cut(response.text()), true);
      onConnected();
      const reader = response.body?.getReader();
      while (reader !== undefined) {
        silence.restart();
        const { done, value } = await cut(reader.read());
        // The reader's own work takes as long as it takes.
        silence.stop();
        if (done) return;
        yield value;
      }
    } finally {
      silence.stop();
      abort.abort();
    }
  }

  patience(): Patience {
    return new Patience(this.options);
  }

  private headers(more: Record<string, string>): Headers {
    const { key } = this.options;
    return new Headers({ ...(key ? { Authorization: `Bearer ${key}` } : {}), ...more });
  }
}

/** Tells a failed connection from mistakes of the program. */
async function cut<T>(exchange: Promise<T>): Promise<T> {
  try {
    return await exchange;
  } catch (error) {
    throw new Cut(error);
  }
}

class Timer {
  private readonly ring: () => void;
  private id: ReturnType<typeof setTimeout> | undefined;

  constructor(ring: () => void) {
    this.ring = ring;
  }

  restart(): void {
    this.stop();
    this.id = setTimeout(this.ring, SILENCE);
  }

  stop(): void {
    clearTimeout(this.id);
  }
}

function pathOf(meeting: string): string {
  return `/v1/meetings/${encodeURIComponent(meeting)}`;
}

function problemOf(response: Response, answer: string, isCertain: boolean): Problem {
  let document: unknown;
  try {
    document = JSON.parse(answer);
  } catch {
    // A proxy's page says nothing that counts.
  }
  const isObject = typeof document === "object" && document !== null;
  const retryAfter = millisecondsOf(response.headers.get("Retry-After"));
  return new Problem(response.status, isObject ? (document as ProblemDocument) : {}, retryAfter, isCertain);
}

/** `Retry-After` is a number of seconds, or a date. */
export function millisecondsOf(retryAfter: string | null): number {
  if (retryAfter === null) return 0;
  const milliseconds = /^\s*\d+\s*$/.test(retryAfter) ? Number(retryAfter) * 1000 : Date.parse(retryAfter) - Date.now();
  return milliseconds > 0 ? milliseconds : 0;
}

type Numbered = Packet & { producer: { id: string; number: number } };

/**
 * Numbers packets and sends them again until the meeting has them: none is lost, none is there twice.
 *
 * A program that is restarted goes on with the number of its next packet, `first`; with a number that was used before, the
 * node takes a packet for the earlier one.
 */
export class Publisher {
  private readonly client: Client;
  private readonly path: string;
  private readonly producer: string;
  private next: number;
  /** The newest packets: all that may not be stored. A node that is killed loses what it had not stored. */
  private unstored: Numbered[] = [];
  /** The last call: calls are carried out one after the other. */
  private last: Promise<unknown> = Promise.resolve();

  constructor(client: Client, meeting: string, producer: string, first: number) {
    this.client = client;
    this.path = `${pathOf(meeting)}/packets`;
    this.producer = producer;
    this.next = first;
  }

  /** Publishes a packet with a JSON payload. `durable: false` does not wait until it is stored; `flush` does. */
  publish(packet: Packet, { durable = true }: { durable?: boolean } = {}): Promise<Published> {
    // Each try sends the same packet.
    const timestamped = { ...packet, timestamp: packet.timestamp ?? new Date().toISOString() };
    return this.inTurn(async () => {
      this.unstored.push({ ...timestamped, producer: { id: this.producer, number: this.next } });
      this.next += 1;
      try {
        return await this.send(durable || this.unstored.length >= MOST_UNSTORED);
      } catch (error) {
        // The meeting does not have the packet, so the next one gets its number. If that is not certain, it is kept and
        // sent with the next one: another packet under its number might be taken for this one.
        if (error instanceof Problem && error.isCertain && error.status < 500) {
          this.unstored.pop();
          this.next -= 1;
        }
        throw error;
      }
    });
  }

  /** Returns once all that was published is stored. */
  flush(): Promise<void> {
    return this.inTurn(async () => {
      if (this.unstored.length > 0) await this.send(true);
    });
  }

  private inTurn<T>(call: () => Promise<T>): Promise<T> {
    const turn = this.last.then(call);
    // The next call comes after one that failed, too.
    this.last = turn.catch(() => undefined);
    return turn;
  }

  /** Sends the newest packet, and before it those that the meeting lost. */
  private async send(durable: boolean): Promise<Published> {
    const path = this.path + (durable ? "?durable=true" : "");
    let result: unknown;
    for (let at = this.unstored.length - 1; at < this.unstored.length; ) {
      try {
        result = await this.client.request("POST", path, this.unstored[at]);
        at += 1;
      } catch (error) {
        if (!(error instanceof Problem) || error.code !== "number-gap" || error.next === undefined) throw error;
        const oldest = this.unstored[0]?.producer.number ?? this.next;
        // Older than what is kept: `first` is to be `error.next`, or the database is another one.
        if (error.next < oldest || error.next >= oldest + at) throw error;
        at = error.next - oldest;
      }
    }
    if (durable) this.unstored = [];
    return result as Published;
  }
}

/** An event of a stream. A packet's `id` is its seq. */
export interface ServerEvent {
  type: string;
  data: string;
  id: string;
}

/** Takes a stream of server-sent events in pieces of any size. Reconnection times (`retry`) are left out. */
export class EventParser {
  // It keeps a character that was cut until the rest is there, and leaves out a byte order mark.
  private readonly decoder = new TextDecoder();
  private lastId: string;
  private line = "";
  private endedWithCr = false;
  private type = "";
  private data: string[] = [];

  constructor(lastId = "") {
    this.lastId = lastId;
  }

  /** Returns the events that are complete now. */
  feed(piece: Uint8Array): ServerEvent[] {
    let text = this.decoder.decode(piece, { stream: true });
    if (text === "") return [];
    // The other half of a line's end.
    if (this.endedWithCr && text.startsWith("\n")) text = text.slice(1);
    this.endedWithCr = text === "" ? false : text.endsWith("\r");
    const lines = text.split(/\r\n|\r|\n/);
    const rest = lines.pop() ?? "";
    const events: ServerEvent[] = [];
    for (const end of lines) {
      const event = this.take(this.line + end);
      this.line = "";
      if (event !== undefined) events.push(event);
    }
    this.line += rest;
    return events;
  }

  private take(line: string): ServerEvent | undefined {
    if (line === "") {
      const { type, data } = this;
      this.type = "";
      this.data = [];
      return data.length === 0 ? undefined : { type: type || "message", data: data.join("\n"), id: this.lastId };
    }
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") this.data.push(value);
    else if (name === "event") this.type = value;
    else if (name === "id" && !value.includes("\0")) this.lastId = value;
    // A comment has no name.
    return undefined;
  }
}

/** The packets of a meeting, each once and in order, until the meeting has ended. Iterate over it once. */
export class Subscription {
  /** What to give as `after` to go on later. */
  lastId: string;
  reconnected = 0;
  private readonly client: Client;
  private readonly path: string;
  private wasConnected = false;

  constructor(client: Client, meeting: string, { after = "", outputs = false, sources = [] }: Following) {
    this.client = client;
    this.lastId = after;
    const query = new URLSearchParams();
    if (outputs) query.set("outputs", "true");
    if (sources.length > 0) query.set("sources", sources.join(","));
    this.path = `${pathOf(meeting)}/events${query.size > 0 ? `?${query}` : ""}`;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ServerEvent> {
    const patience = this.client.patience();
    for (;;) {
      // A stream that ends without a word was cut.
      let cause: Error = new Cut("the stream was cut");
      try {
        for await (const event of this.connected()) {
          if (event.type === "end") return;
          if (event.type === "again" || event.type === "error") {
            cause = new Cut(`the stream ended with ${event.type}: ${event.data}`);
            break;
          }
          if (event.type !== "message") continue;
          patience.reset();
          this.lastId = event.id;
          yield event;
        }
      } catch (error) {
        if (!(error instanceof Cut || (error instanceof Problem && error.isPassing))) throw error;
        cause = error;
      }
      await patience.wait(cause);
    }
  }

  private async *connected(): AsyncGenerator<ServerEvent> {
    // An event that was cut is sent again as a whole.
    const parser = new EventParser(this.lastId);
    const onConnected = () => {
      if (this.wasConnected) this.reconnected += 1;
      this.wasConnected = true;
    };
    for await (const piece of this.client.stream(this.path, this.lastId, onConnected)) yield* parser.feed(piece);
  }
}
