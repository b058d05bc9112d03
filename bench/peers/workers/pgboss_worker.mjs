// pg-boss: fetches a batch at each poll, completes it in one statement; the poll's shortest pause is 0.5 s.

import { require, run, waitAtGate } from "./protocol.mjs";

const PgBoss = require("pg-boss");

const QUEUE = "job";
const INSERT_ROWS = 1000;
const POLL_S = 0.5;

async function start(url, options) {
  const boss = new PgBoss({ connectionString: url, ...options });
  boss.on("error", (error) => console.error(error));
  await boss.start();
  return boss;
}

await run({
  async prepare(url) {
    const boss = await start(url, { supervise: false, schedule: false });
    await boss.createQueue(QUEUE);
    await boss.stop({ graceful: false });
  },
  async connect(url) {
    const boss = await start(url, { supervise: false, schedule: false });
    return {
      send: (n) => boss.send(QUEUE, { n }),
      async sendMany(from, to) {
        for (let start = from; start < to; start += INSERT_ROWS) {
          const length = Math.min(INSERT_ROWS, to - start);
          await boss.insert(Array.from({ length }, (_, k) => ({ name: QUEUE, data: { n: start + k } })));
        }
      },
      close: () => boss.stop({ graceful: false }),
    };
  },
  async work(options, marks) {
    const boss = await start(options.url, {});
    await waitAtGate();
    await boss.work(QUEUE, { batchSize: options.slots, pollingIntervalSeconds: POLL_S }, async (jobs) => {
      for (const job of jobs) {
        marks.hit();
        if (options.kind === "probe") marks.mark(job.data.n);
      }
    });
  },
});
