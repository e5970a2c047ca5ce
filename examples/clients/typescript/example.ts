/** Publishes COUNT packets to MEETING while a task prints what plugins put out, and ends it: example.ts MEETING COUNT. */

import { Client, GaveUp, Problem, type Subscription } from "./teammy.ts";

// The types of Node would be a dependency.
declare const process: { argv: string[]; env: Record<string, string | undefined>; exit(code: number): never };

interface Output {
  seq: number;
  source: string;
  payload: { turns?: number };
}

/** Prints the outputs of a meeting; returns what is to be checked. */
async function read(subscription: Subscription): Promise<{ seqs: bigint[]; lastTable: Output["payload"] }> {
  const seqs: bigint[] = [];
  let lastTable: Output["payload"] = {};
  for await (const event of subscription) {
    const output = JSON.parse(event.data) as Output;
    console.log(`${event.id} ${output.source}`);
    // A seq may be larger than numbers are exact.
    seqs.push(BigInt(event.id));
    lastTable = output.payload;
  }
  return { seqs, lastTable };
}

async function main(meeting: string, count: number): Promise<number> {
  const client = new Client({
    url: process.env["TEAMMY_URL"] || undefined,
    key: process.env["TEAMMY_KEY"],
    onWait: (cause, pause) => console.error(`waiting ${(pause / 1000).toFixed(1)} s for the node: ${cause.message}`),
  });
  await client.openMeeting(meeting, { plugins: ["talk-time"] });
  const subscription = client.subscribe(meeting, { outputs: true });

  const publish = async () => {
    // Packet N always has number N, so the program can be run again after it was killed: it goes on.
    const publisher = client.publisher(meeting, "example");
    for (let turn = 0; turn < count; turn += 1) {
      const payload = { text: `This is turn ${turn + 1}.`, start_ms: turn * 1000, end_ms: turn * 1000 + 900, is_final: true };
      await publisher.publish({ source: "transcription", participant: "Ada", payload }, { durable: false });
    }
    // What is not stored when the meeting ends could not be sent again.
    await publisher.flush();
    await client.endMeeting(meeting);
  };

  const [{ seqs, lastTable }] = await Promise.all([read(subscription), publish()]);
  console.log(`published ${count}, received ${seqs.length}, reconnected ${subscription.reconnected}`);
  const isIncreasing = seqs.every((seq, at) => at === 0 || seq > seqs[at - 1]!);
  // The last table is of the whole meeting.
  return isIncreasing && lastTable.turns === count ? 0 : 1;
}

const [meeting, count] = process.argv.slice(2);
if (meeting === undefined || count === undefined || !/^\d+$/.test(count)) {
  console.error("usage: example.ts MEETING COUNT");
  process.exit(2);
}
try {
  process.exit(await main(meeting, Number(count)));
} catch (error) {
  if (!(error instanceof Problem || error instanceof GaveUp)) throw error;
  console.error(`error: ${error.message}`);
  process.exit(1);
}
