// What the scripts of the rivals written for Node share; the roles and words are those of protocol.py.
//
// Packages are looked up from the folder that the script runs in. Marks are written into the file that
// bench/marks.py maps: count, time of the first body, then the cells, as doubles, one region per process.

import fs from "node:fs";
import { createRequire } from "node:module";
import readline from "node:readline";

const PROCESSES_MAX = 4;
const BYTES = 8;
const WARM_UP_JOBS = 200;
const PROBE_PAUSE_MS = [20, 50];
const LOOK_MS = 1;

export const require = createRequire(`${process.cwd()}/`);

export async function run({ prepare, connect, work }) {
  const [role, ...words] = process.argv.slice(2);
  const options = {};
  for (let i = 0; i < words.length; i += 2) options[words[i].slice(2)] = words[i + 1];
  for (const name of ["jobs", "slots", "process"]) options[name] = Number(options[name] ?? 0);
  if (role === "work") {
    await work(options, openMarks(options));
    return;
  }
  let answer = {};
  if (role === "prepare") await prepare(options.url);
  else {
    const sender = await connect(options.url);
    answer = await ROLES[role](sender, options);
    await sender.close();
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`, () => process.exit(0));
}

// Resolves when the harness lets the worker begin.
export function waitAtGate() {
  process.stdout.write("ready\n");
  return new Promise((resolve) => readline.createInterface({ input: process.stdin }).once("line", resolve));
}

const ROLES = {
  fill: async (sender, { jobs }) => {
    await sender.sendMany(0, jobs);
    return {};
  },
  singly: async (sender, { jobs }) => {
    for (let n = 0; n < WARM_UP_JOBS; n++) await sender.send(n);
    const began = monotonic();
    for (let n = 0; n < jobs; n++) await sender.send(n);
    return { seconds: monotonic() - began };
  },
  bulk: async (sender, { jobs }) => {
    await sender.sendMany(0, WARM_UP_JOBS);
    const began = monotonic();
    await sender.sendMany(0, jobs);
    return { seconds: monotonic() - began };
  },
  probe: async (sender, options) => {
    const marks = openMarks(options);
    const waits = [];
    for (let n = 0; n < options.jobs; n++) {
      const sentAt = monotonic();
      await sender.send(n);
      while (!marks.get(n)) await sleep(LOOK_MS);
      waits.push((marks.get(n) - sentAt) * 1e3);
      await sleep(PROBE_PAUSE_MS[0] + Math.random() * (PROBE_PAUSE_MS[1] - PROBE_PAUSE_MS[0]));
    }
    return { waits_ms: waits };
  },
};

function openMarks(options) {
  const file = fs.openSync(options.marks, "r+");
  const region = fs.fstatSync(file).size / PROCESSES_MAX;
  const start = region * options.process;
  const cell = Buffer.alloc(BYTES);
  let count = 0;
  let isDue = false;

  const write = (place, value) => {
    cell.writeDoubleLE(value);
    fs.writeSync(file, cell, 0, BYTES, start + place);
  };
  const writeCount = () => {
    isDue = false;
    write(0, count);
  };
  return {
    // Counts a body that begins. Node maps no files: the count is written once per turn of the
    // event loop, or the system calls of a measured worker would be ours.
    hit() {
      if (++count === 1) write(BYTES, monotonic());
      if (!isDue) {
        isDue = true;
        setImmediate(writeCount);
      }
    },
    mark(n) {
      write((2 + n) * BYTES, monotonic());
    },
    get(n) {
      fs.readSync(file, cell, 0, BYTES, start + (2 + n) * BYTES);
      return cell.readDoubleLE();
    },
  };
}

// Seconds of CLOCK_MONOTONIC, the clock of all processes of the bench.
function monotonic() {
  return Number(process.hrtime.bigint()) / 1e9;
}

function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
