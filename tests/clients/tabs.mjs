// What browsers have and Node has not, so that several clients in one process are as tabs of one origin are.

/** Who asks for one of a name first has it until it gives it back. */
const queues = new Map();
const locks = {
  request(name, { signal }, held) {
    const turn = (queues.get(name) ?? Promise.resolve()).then(() => {
      signal.throwIfAborted();
      return held();
    });
    queues.set(name, turn.catch(() => {}));
    // Who waits no more is told at once.
    const aborted = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    return Promise.race([turn, aborted]);
  },
};

const channels = new Set();
let opening;

class Channel {
  late = undefined; // what has not come, of a tab that is busy

  constructor() {
    this.tab = opening;
    channels.add(this);
  }

  postMessage(data) {
    const copy = structuredClone(data);
    this.pass(() => {
      for (const channel of channels) if (channel !== this) channel.pass(() => channel.onmessage?.({ data: copy }));
    });
  }

  pass(message) {
    if (this.late) this.late.push(message);
    else queueMicrotask(() => channels.has(this) && message());
  }

  close() {
    channels.delete(this);
  }
}

export function install() {
  Object.defineProperty(globalThis, "navigator", { value: { locks }, configurable: true });
  globalThis.BroadcastChannel = Channel;
}

/** Runs this, in which a tab's client is made. */
export function inTab(tab, run) {
  opening = tab;
  return run();
}

const channelOf = (tab) => [...channels].find((channel) => channel.tab === tab);

/** Whether a tab is busy: then nothing that was said comes to it or from it. */
export function busy(tab, is) {
  const channel = channelOf(tab);
  const late = channel.late ?? [];
  channel.late = is ? [] : undefined;
  for (const message of late) channel.pass(message);
}
