// What a page in TypeScript writes: the compiler has to take it, and to refuse what is marked so.
import { connect, type Gap, type State, type TidingsError } from "../../static/tidings.js";

const client = connect("http://127.0.0.1:8080", { persist: "orders", token: async () => "fresh", transport: "auto", silence: 120_000 });

const orders = client.feed<{ n: number }>("orders.*", ({ data, key }) => console.log(data.n.toFixed(), key?.length), {
  last: 10,
  echo: false,
  onGap: ({ after, before }: Gap) => console.log(after, before),
  onReset: () => orders.close(),
});
const position: string | undefined = orders.position;

client.addEventListener("state", ({ detail }) => {
  const state: State = detail.state;
  console.log(state, detail.error?.message, detail.error?.retryAt?.toFixed(), position);
});
client.addEventListener("gap", (event) => {
  event.preventDefault();
  console.log(event.detail.pattern, event.detail.reason);
});

const { id, repeated } = await client.publish("orders.eu", new Uint8Array(3), { contentType: "image/png" });
const name = await client.request<{ name: string }>("users.get", { id: 7 }, { timeout: 2_000 }).catch((error: TidingsError) => {
  console.log(error.status, error.detail, error.retry_after?.toFixed());
  return { name: id };
});
console.log(name.name, repeated === true);
client.close();

// @ts-expect-error: a misspelt option would be missed silently
connect("", { presist: "orders" });
// @ts-expect-error: the position is the client's
orders.position = "0-0";
// @ts-expect-error: there is no such state
export const gone: State = "gone";
