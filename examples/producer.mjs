// Writes events of a simulated shop to stdout, as JSON lines that docs/input.md describes. Node.js 20, no dependencies.
//
//     node examples/producer.mjs [EVENTS [PER_SECOND]] | deltarec run --clock wall
//
// In production each line is the value of a Kafka record. Use the user as the key: it keeps the events of a user in order.

import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";

const MAX_NAME_BYTES = 512;

/** Checks a name here, where the mistake can be fixed: deltarec counts and drops records that are not valid. */
function checkName(field, name) {
  // A string with half a surrogate pair has no UTF-8 form.
  if (typeof name !== "string" || !name.isWellFormed()) throw new TypeError(`${field}: not a Unicode string`);
  const bytes = Buffer.byteLength(name);
  if (bytes < 1 || bytes > MAX_NAME_BYTES) throw new RangeError(`${field}: ${bytes} bytes, must be 1 to ${MAX_NAME_BYTES}`);
}

/** The JSON line of a valid event. Throws if the event is not valid. */
export function toLine(event) {
  checkName("user", event.user);
  checkName("item", event.item);
  if (event.room !== undefined) checkName("room", event.room);
  if (event.user.startsWith("deltarec:")) throw new RangeError("user: the prefix deltarec: is reserved for shared lists");
  // Milliseconds since 1970 in UTC, up to 2^53 - 1. Seconds are a common mistake, and such events are long expired.
  if (!Number.isSafeInteger(event.ts) || event.ts < 0) throw new RangeError(`ts: ${event.ts} is not a time in ms`);
  if (event.action === "watch" && !(Number.isSafeInteger(event.dwell_ms) && event.dwell_ms >= 0)) {
    throw new RangeError("dwell_ms: a watch needs its duration in ms");
  }
  return JSON.stringify(event) + "\n";
}

const pick = (values) => values[Math.floor(Math.random() * values.length)];
const numbers = (count) => Array.from({ length: count }, (_, number) => number);

/** One event of now. Users like the items whose number has the same last digit, so that there is something to learn. */
function nextEvent() {
  const user = pick(numbers(20));
  const item = pick(numbers(50).filter((item) => item % 10 === user % 10 || Math.random() < 0.1));
  const action = pick(["view", "view", "click", "cart", "purchase", "watch"]);
  const event = { user: `u${user}`, item: `p${item}`, action, ts: Date.now(), room: `r${item % 10}` };
  return action === "watch" ? { ...event, dwell_ms: Math.floor(Math.random() * 60_000) } : event;
}

const [events = 1_000, perSecond = 50] = process.argv.slice(2).map(Number);
process.stdout.on("error", (error) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(0); // The reader has ended.
});
for (let written = 0; written < events; written += 1) {
  // `write` returns false when the pipe is full. Waiting keeps the memory of this process small.
  if (!process.stdout.write(toLine(nextEvent()))) await once(process.stdout, "drain");
  await sleep(1_000 / perSecond);
}
