// BullMQ on Node: `node bullmq.mjs worker|client URL`. The client takes its turns from standard input, as all clients do
// (contest/hosting.py). Where npm has installed it is in NODE_PATH.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const [role, url] = process.argv.slice(2);
const { FlowProducer, Queue, QueueEvents, Worker, WaitingChildrenError } = createRequire(`${process.env.NODE_PATH}/`)('bullmq');
const { hostname, port, pathname } = new URL(url);
const connection = { host: hostname, port: Number(port), db: Number(pathname.slice(1)), maxRetriesPerRequest: null };
const SLOTS = 50;

const total = (values) => Object.values(values).reduce((sum, value) => sum + value, 0);
const HANDLERS = {
  source: async () => 1,
  child: async (job) => job.data.value + 1,
  step: async (job) => total(await job.getChildrenValues()) + 1,
  gather: async (job) => total(await job.getChildrenValues()),
  grow,
};

// Children that are known only at run time: added by their parent, which then waits for them.
let bench;
async function grow(job, token) {
  const { numbers } = job.data;
  if (numbers !== undefined) {
    await job.updateData({});
    bench ??= new Queue('bench', { connection });
    const parent = { id: job.id, queue: job.queueQualifiedName };
    await bench.addBulk(
      Array.from({ length: numbers }, (_, value) => ({ name: 'child', data: { value }, opts: { parent } })),
    );
    if (await job.moveToWaitingChildren(token)) throw new WaitingChildrenError();
  }
  return total(await job.getChildrenValues());
}

const job = (name, queueName, children, data = {}) => ({ name, queueName, data, children });
const fanIn = (width) => job('gather', 'roots', Array.from({ length: width }, () => job('source', 'bench')));

function chain(length) {
  let last = job('source', 'bench');
  for (let place = 1; place < length; place += 1) {
    last = job('step', place === length - 1 ? 'roots' : 'bench', [last]);
  }
  return last;
}

function declared(shape, size) {
  if (shape === 'growth') return job('grow', 'roots', undefined, { numbers: size });
  return shape === 'chain' ? chain(size) : fanIn(size);
}

// Roots have a queue of their own, so that the client hears of no other jobs.
async function work() {
  const workers = ['bench', 'roots'].map(
    (queue) => new Worker(queue, (one, token) => HANDLERS[one.name](one, token), { connection, concurrency: SLOTS }),
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

async function turn(client, { shape, size, calls, copies }) {
  const seconds = [];
  let value = 0;
  const before = process.memoryUsage().rss;
  for (let call = 0; call < calls; call += 1) {
    const flows = Array.from({ length: copies }, () => declared(shape, size));
    const began = process.hrtime.bigint();
    value = copies > 1 ? total(await client.orders(flows)) : await client.run(flows[0]);
    seconds.push(Number(process.hrtime.bigint() - began) / 1e9);
  }
  return { seconds, value: [value], memory: [before, process.resourceUsage().maxRSS * 1024] };
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
