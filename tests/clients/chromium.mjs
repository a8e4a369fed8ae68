// Headless Chromium, on a page of another origin than the stream's: either its own EventSource, or
// @microsoft/fetch-event-source where that is at home.
//
//     chromium.mjs <url> <"eventsource" or "fetch-event-source"> <folder for its profile> <type>...
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { chromium } from "playwright-core";
import { types as args, untilStdinEnds, url } from "./report.mjs";

const [client, profile, ...types] = args;
const modules = new URL("./node_modules/@microsoft/fetch-event-source/lib/esm/", import.meta.url);

const page = `<!doctype html><meta charset="utf-8"><title>Subscriber</title>
<script type="module">
  const heard = [];
  let writing = Promise.resolve();
  // Events in one batch for each crossing from the page to Node.
  function hear(event) {
    if (heard.push(event) === 1) {
      writing = writing.then(() => write(heard.splice(0).map((event) => JSON.stringify(event) + "\\n").join("")));
    }
  }
  const { url, client, types } = ${JSON.stringify({ url, client, types })};
  if (client === "eventsource") {
    const source = new EventSource(url);
    for (const type of types) {
      source.addEventListener(type, ({ data, lastEventId }) => hear({ type, data, id: lastEventId }));
    }
    source.addEventListener("open", () => console.log("open"));
    source.addEventListener("error", () => console.log("error", source.readyState));
  } else {
    const { fetchEventSource } = await import("/modules/index.js");
    fetchEventSource(url, {
      openWhenHidden: true,
      onopen: async (response) => console.log("open", response.status),
      onmessage: ({ event, data, id }) => hear({ type: event || "message", data, id }),
      onclose: () => { throw new Error("the stream ended"); },
      onerror: (error) => console.log("error", String(error)),
    });
  }
</script>`;

const site = createServer(async ({ url: path }, response) => {
  const module = /^\/modules\/([a-z]+)(\.js)?$/.exec(path);
  try {
    const body = module ? await readFile(new URL(`${module[1]}.js`, modules)) : page;
    response.setHeader("content-type", module ? "text/javascript" : "text/html");
    response.end(path === "/" || module ? body : "");
  } catch (error) {
    console.error(error);
    response.writeHead(404).end();
  }
});
await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));

const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.TIDINGS_TEST_CHROMIUM,
  headless: true,
  // Chromium refuses to sandbox root's processes.
  chromiumSandbox: process.getuid() !== 0,
  args: [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
untilStdinEnds(async () => {
  await browser.close();
  process.exit();
});
await browser.exposeFunction("write", (lines) => process.stdout.write(lines));
const tab = await browser.newPage();
tab.on("console", (message) => console.error(message.text()));
tab.on("pageerror", (error) => console.error(error));
await tab.goto(`http://127.0.0.1:${site.address().port}/`);
