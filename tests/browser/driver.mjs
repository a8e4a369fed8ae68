// A browser that a test drives: one JSON command a line on standard input, one JSON answer a line on standard
// output, in any order, `{"id":1,"value":…}` or `{"id":1,"error":"…"}`. What pages log is on standard error. The
// browser, its profile and this script end with standard input.
//
//     driver.mjs <"chromium" or "firefox"> <the program>
//
//     {"id":1,"do":"open","tab":1,"url":"http://…"}      opens a new tab; in one that there is, another page
//     {"id":2,"do":"evaluate","tab":1,"body":"return 1"} the JSON value of an async function's body
//     {"id":3,"do":"wait","tab":1,"body":"return x"}     the same, once it is true
//     {"id":4,"do":"reload","tab":1}
//     {"id":5,"do":"show","tab":1}                       brings it to the front; the others are hidden then
//     {"id":6,"do":"screenshot","tab":1,"path":"…","scheme":"dark","width":800,"height":600}
//     {"id":7,"do":"errors","tab":1}                     what its pages have logged as errors, or not caught
//     {"id":8,"do":"close","tab":1}
//
// Names that end in `elsewhere.test` are this machine's too, so that a page can come from another site.
import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const { default: puppeteer } = createRequire(new URL("../clients/", import.meta.url))("puppeteer-core");
const [kind, executablePath] = process.argv.slice(2);
const folder = await mkdtemp(join(tmpdir(), "tidings-browser-"));
// Whatever a page waits for, the test has the deadline.
const timeout = 0;

const kinds = {
  chromium: {
    browser: "chrome",
    pipe: true,
    args: [
      // Chromium refuses to sandbox root's processes.
      ...(process.getuid() === 0 ? ["--no-sandbox"] : []),
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--no-proxy-server",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--host-resolver-rules=MAP *.elsewhere.test 127.0.0.1, MAP elsewhere.test 127.0.0.1",
    ],
  },
  firefox: {
    browser: "firefox",
    // For a setting that has no command of its own: see `setScheme`.
    args: ["--remote-allow-system-access"],
    extraPrefsFirefox: {
      "network.proxy.type": 0,
      "network.dns.localDomains": "elsewhere.test",
    },
  },
};

const browser = await puppeteer.launch({
  ...kinds[kind],
  executablePath,
  headless: true,
  userDataDir: join(folder, "profile"),
  env: { ...process.env, HOME: folder, TMPDIR: folder },
  timeout,
  protocolTimeout: timeout,
});
const tabs = new Map();

const commands = {
  async open({ tab, url }) {
    if (!tabs.has(tab)) {
      tabs.set(tab, watched(await browser.newPage()));
    }
    await tabs.get(tab).page.goto(url, { timeout });
  },
  evaluate: ({ tab, body }) => evaluate(tab, body),
  // After each change to the document, and now and then where there is none.
  wait: ({ tab, body }) =>
    evaluate(
      tab,
      `const awaited = async () => { ${body}
       };
       for (;;) {
         const changed = new Promise((resolve) => {
           const observer = new MutationObserver(end);
           const timer = setTimeout(end, 100);
           function end() {
             observer.disconnect();
             clearTimeout(timer);
             resolve();
           }
           observer.observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
         });
         const value = await awaited();
         if (value) return value;
         await changed;
       }`,
    ),
  async reload({ tab }) {
    await tabs.get(tab).page.reload({ timeout });
  },
  async show({ tab }) {
    await tabs.get(tab).page.bringToFront();
  },
  async screenshot({ tab, path, scheme, width, height }) {
    const { page } = tabs.get(tab);
    await page.setViewport({ width, height });
    await setScheme(page, scheme);
    // Chromium draws no hidden tab.
    await page.bringToFront();
    await page.screenshot({ path });
  },
  errors: ({ tab }) => tabs.get(tab).errors,
  async close({ tab }) {
    await tabs.get(tab).page.close();
    tabs.delete(tab);
  },
};

// A page, with what goes wrong in it.
function watched(page) {
  const errors = [];
  page.on("console", (message) => {
    console.error(`${message.type()}: ${message.text()}`);
    if (message.type() === "error") errors.push(message.text());
  });
  page.on("pageerror", (error) => {
    console.error(`uncaught: ${error}`);
    errors.push(String(error));
  });
  return { page, errors };
}

// As a string, which no page's Content-Security-Policy forbids; and as JSON, which means the same in every browser.
async function evaluate(tab, body) {
  const { page } = tabs.get(tab);
  const { value, error } = JSON.parse(
    await page.evaluate(
      `(async () => { ${body}
       })().then(
         (value) => JSON.stringify({ value: value ?? null }),
         (error) => JSON.stringify({ error: String(error) }),
       )`,
    ),
  );
  if (error !== undefined) throw new Error(error);
  return value;
}

// Whether pages are light or dark. WebDriver BiDi has no command for that, but Firefox has a setting.
async function setScheme(page, scheme) {
  if (kind === "chromium") {
    return page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  }
  const { result } = await browser.connection.send("browsingContext.getTree", { "moz:scope": "chrome" });
  const setting = scheme === "dark" ? 0 : 1;
  await browser.connection.send("script.evaluate", {
    expression: `Services.prefs.setIntPref("layout.css.prefers-color-scheme.content-override", ${setting})`,
    target: { context: result.contexts[0].context },
    awaitPromise: true,
  });
}

function answer(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

const lines = createInterface({ input: process.stdin });
lines.on("line", async (line) => {
  const command = JSON.parse(line);
  try {
    answer({ id: command.id, value: (await commands[command.do](command)) ?? null });
  } catch (error) {
    answer({ id: command.id, error: String(error) });
  }
});

// Killed, since nothing of it is kept, with all its processes.
lines.on("close", async () => {
  const main = browser.process();
  if (main.exitCode === null && main.signalCode === null) {
    const ended = new Promise((resolve) => main.once("exit", resolve));
    process.kill(-main.pid, "SIGKILL");
    await ended;
  }
  await rm(folder, { recursive: true, force: true, maxRetries: 10 });
  process.exit();
});

answer({ id: 0, value: await browser.version() });
