// BullMQ on Node: `node bullmq.mjs FOLDER worker PORT DATABASE`, and `... client PORT`, which takes its turns from standard input
// (see drivers.py). FOLDER is where npm has installed it.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const [folder, role, port, database] = process.argv.slice(2);
const { FlowProducer, QueueEvents, Worker } = createRequire(`${folder}/`)('bullmq');
const connection = { host: '127.0.0.1', port: Number(port), db: Number(database), maxRetriesPerRequest: null };
const SLOTS = 50;

const total = (values) => Object.values(values).reduce((sum, value) => sum + value, 0);
const HANDLERS = {
  source: async () => 1,
  step: async (job) => total(await job.getChildrenValues()) + 1,
  gather: async (job) => total(await job.getChildrenValues()),
};

const job = (name, queueName, children) => ({ name, queueName, data: {}, children });
const fanIn = (width) => job('gather', 'roots', Array.from({ length: width }, () => job('source', 'bench')));

function chain(length) {
  let last = job('source', 'bench');
  for (let place = 1; place < length; place += 1) {
    last = job('step', place === length - 1 ? 'roots' : 'bench', [last]);
  }
  return last;
}

// Roots have a queue of their own, so that the client hears of no other jobs.
async function work() {
  const workers = ['bench', 'roots'].map(
    (queue) => new Worker(queue, (one) => HANDLERS[one.name](one), { connection, concurrency: SLOTS }),
  );
  await Promise.all(workers.map((worker) => worker.waitUntilReady()));
  console.log('ready');
}

class Client {
  constructor() {
    this.producer = new FlowProducer({ connection });
    this.events = new QueueEvents('roots', { connection });
    this.values = new Map();
    this.waiting = new Map();
    this.events.on('completed', ({ jobId, returnvalue }) => this.heard(jobId, returnvalue));
    this.events.on('failed', ({ failedReason }) => {
      throw new Error(failedReason);
    });
  }

  heard(id, value) {
    const tell = this.waiting.get(id);
    this.waiting.delete(id);
    if (tell) tell(value);
    else this.values.set(id, value);
  }

  result(id) {
    if (!this.values.has(id)) return new Promise((tell) => this.waiting.set(id, tell));
    const value = this.values.get(id);
    this.values.delete(id);
    return value;
  }

  async run(flow) {
    return this.result((await this.producer.add(flow)).job.id);
  }

  async orders(flows) {
    const nodes = await this.producer.addBulk(flows);
    return Promise.all(nodes.map((node) => this.result(node.job.id)));
  }
}

async function turn(client, { shape, size, calls }) {
  const seconds = [];
  let value = 0;
  for (let call = 0; call < calls; call += 1) {
    const many = Array.from({ length: shape === 'orders' ? size : 0 }, () => fanIn(3));
    const flow = shape === 'chain' ? chain(size) : fanIn(size);
    const began = process.hrtime.bigint();
    value = many.length > 0 ? total(await client.orders(many)) : await client.run(flow);
    seconds.push(Number(process.hrtime.bigint() - began) / 1e9);
  }
  return { seconds, value };
}

async function serve() {
  const client = new Client();
  await client.events.waitUntilReady();
  console.log('ready');
  for await (const line of createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await turn(client, JSON.parse(line))));
  }
  process.exit(0);
}

await (role === 'worker' ? work() : serve());
