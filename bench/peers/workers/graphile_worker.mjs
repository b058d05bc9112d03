// graphile-worker: jobs are fetched in batches into a local queue, completions are written in batches.

import { require, run, waitAtGate } from "./protocol.mjs";

const { Logger, makeWorkerUtils, run: runWorker, runMigrations } = require("graphile-worker");

const INSERT_ROWS = 1000;
const CONNECTIONS_MAX = 10;
const quiet = new Logger(() => () => {});

function preset(url, slots) {
  const batches = { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 };
  return { worker: { connectionString: url, concurrentJobs: slots, maxPoolSize: CONNECTIONS_MAX, ...batches } };
}

await run({
  prepare: (url) => runMigrations({ connectionString: url, logger: quiet }),
  async connect(url) {
    const utils = await makeWorkerUtils({ connectionString: url, logger: quiet });
    return {
      send: (n) => utils.addJob("job", { n }),
      async sendMany(from, to) {
        for (let start = from; start < to; start += INSERT_ROWS) {
          const length = Math.min(INSERT_ROWS, to - start);
          await utils.addJobs(Array.from({ length }, (_, k) => ({ identifier: "job", payload: { n: start + k } })));
        }
      },
      close: () => utils.release(),
    };
  },
  async work(options, marks) {
    await waitAtGate();
    await runWorker({
      preset: preset(options.url, options.slots),
      logger: quiet,
      taskList: {
        job(payload) {
          marks.hit();
          if (options.kind === "probe") marks.mark(payload.n);
        },
      },
    });
  },
});
