/** The client of Tidings, for browsers, bundlers and Node 20 or newer. */

/** What an event brings. */
export interface TidingsEvent<Data = any> {
  /** Its place in the log, to be taken as it is. */
  readonly id: string;
  readonly feed: string;
  readonly type: string;
  /** When the log took it in, as in `2026-11-22T15:04:05.123Z`. */
  readonly time: string;
  /**
   * JSON where it was published as JSON, else a string; an `ArrayBuffer` where it is not UTF-8. So bytes come as a string
   * where they happen to be UTF-8: who publishes bytes must expect both.
   */
  readonly data: Data;
  readonly key?: string;
  readonly sender?: string;
  /** The WebSocket over which it was published, where it was. */
  readonly connection?: string;
}

/** Events between the two ids are not to be had any more: fetch anew what they would have told. */
export interface Gap {
  readonly after: string;
  readonly before: string;
  /**
   * `expired`: the log does not hold them any more. `limit`: an event over the server's size limit. Of which
   * feed that was is not known: each subscription is told, whatever its pattern.
   */
  readonly reason: string;
}

/**
 * - `connecting`: nothing is known yet, or no feed was asked for.
 * - `live`: events come as they are published.
 * - `polling`: so they do, by long polls, since no stream comes through. Streams are tried again.
 * - `offline`: nothing comes at the moment; it is tried again, and nothing is missed meanwhile.
 * - `refused`: the server will not serve these feeds. It is tried again when they change.
 * - `closed`: by `close()`.
 */
export type State = "connecting" | "live" | "polling" | "offline" | "refused" | "closed";

/** Why the client is `offline` or `refused`. */
export interface Trouble {
  /** In words that one can show to a user. */
  readonly message: string;
  /** The HTTP status, where the server has answered. */
  readonly status?: number;
  /** What the server said of it (RFC 9457). */
  readonly detail?: string;
  /** When it is tried again, in ms as of `Date.now()`. */
  readonly retryAt?: number;
}

/** What promises of the client are rejected with. */
export interface TidingsError extends Error {
  /** The HTTP status, where the server has answered. */
  readonly status?: number;
  /** What the server said of it (RFC 9457). */
  readonly detail?: string;
  /** In so many seconds it may be tried again, where the server has said so. */
  readonly retry_after?: number;
}

export interface Options {
  /**
   * A token, or what brings one. Sent as `Authorization: Bearer`, and as `auth` on the WebSocket. A function is called when
   * a token is needed first, ahead of its end, and where the server answers 401: the stream goes on until there is another, and
   * the next one begins where it ends. What it throws is told as `error`, and it is called again, later each time; a new token
   * that the server does not take (401) is `refused`. With it nothing is shared among tabs.
   */
  token?: string | (() => string | Promise<string>);
  /** Headers of every request. With them nothing is shared among tabs. */
  headers?: Record<string, string>;
  /** As of `fetch`; `include` has cookies sent to another origin. */
  credentials?: RequestCredentials;
  /**
   * Keeps positions in `sessionStorage` under this name, so that after a reload the first feed of each pattern goes on where
   * it was, whatever its `after` and `last` say. Throws where the browser forbids it.
   */
  persist?: string;
  /**
   * Whether all tabs of this origin share one connection, where the browser lets them: `true` by default without `token` and
   * `headers`. Set it with these only where they are the same in all tabs.
   */
  share?: boolean;
  /** `auto`: streams, and long polls where these don't come through. `stream` and `poll`: that alone. */
  transport?: "auto" | "stream" | "poll";
  /**
   * How long to wait for a stream's first byte, in ms, until it is taken to be held back by a proxy: 5,000 by default. A
   * WebSocket that leaves a publish unanswered for twice as long is taken to be dead, and opened anew.
   */
  firstByte?: number;
  /**
   * After how much silence a stream is taken to be dead, in ms: 45,000 by default, three of the server's signs of life. With
   * `--heartbeat` above 30 it has to be longer.
   */
  silence?: number;
  /** How long to poll until streams, or WebSockets, are tried again, in ms: 300,000 by default. */
  streamsAgain?: number;
  /** How long a publish is repeated, in ms: 30,000 by default. */
  timeout?: number;
  /** Used in place of the global ones. */
  fetch?: typeof fetch;
  WebSocket?: typeof WebSocket;
}

export interface FeedOptions {
  /** Where to begin: after an event id, with the `start` of the log, or `now`, the default. */
  after?: string;
  /** To begin with so many of the newest events, 0 to 1,000, as far as the server has them at hand; instead of `after`. */
  last?: number;
  /** `false` leaves out what this client has published itself over its WebSocket; what had to go by POST comes. */
  echo?: boolean;
  /** Something was missed for good. Without it, `gap` of the client is told, and the console if nobody prevents that. */
  onGap?: (gap: Gap) => void;
  /**
   * The position is not of this log: forget what you know. What comes next begins with the log's first event. Without it,
   * `reset` of the client is told, and the console if nobody prevents that.
   */
  onReset?: () => void;
}

export interface Subscription {
  readonly pattern: string;
  /** The id up to which it has been given everything; `undefined` until that is known. */
  readonly position: string | undefined;
  /** Nothing comes after it. */
  close(): void;
}

export interface PublishOptions {
  /** `message` by default. */
  type?: string;
  key?: string;
  /** By default JSON for JSON, `text/plain` for strings, `application/octet-stream` for bytes. */
  contentType?: string;
  /** By default one of its own: a publish is never doubled by being repeated. */
  idempotencyKey?: string;
  /** How long it is repeated, in ms, in place of the client's. */
  timeout?: number;
}

export interface Receipt {
  readonly id: string;
  readonly feed: string;
  /** It was stored before, under the same key. Not told of what went by POST. */
  readonly repeated?: boolean;
}

export interface ClientEvents {
  /** The state has changed, or there is more to say of it. */
  state: CustomEvent<{ state: State; error?: Trouble }>;
  /** Something was missed for good. `preventDefault()` keeps it out of the console, where no `onGap` is. */
  gap: CustomEvent<Gap & { pattern: string }>;
  /** Positions are not of this log. `preventDefault()` keeps it out of the console, where no `onReset` is. */
  reset: CustomEvent<{ pattern: string }>;
  /**
   * The client has become `refused`; or a subscription that catches up is refused by itself, or has to wait to; or no token
   * could be had.
   */
  error: CustomEvent<{ error: Trouble }>;
}

export interface Client extends EventTarget {
  readonly state: State;

  /**
   * Subscribes: the handler is given each event of the pattern once, in the log's order, or a gap or reset is told.
   * `*` in a pattern is any one token, a last `>` is one or more; what is no pattern throws a `TypeError`. One that is not
   * allowed (403) stops no other: `error` tells of it. The server takes 100 patterns for all tabs together
   * (`--max-patterns`): with more the client is `refused`, and says so. What a handler throws is reported, and stops nothing.
   */
  feed<Data = any>(pattern: string, handler: (event: TidingsEvent<Data>) => void, options?: FeedOptions): Subscription;

  /**
   * Publishes a JSON value, a string, or bytes (a `Blob`, an `ArrayBuffer` or a view of one), which come as a string where
   * they are UTF-8. Resolves once the log holds the event. It is repeated under its key until then, and is rejected where the
   * server refuses it, or when `timeout` has passed: then it may have been stored. Publishes over the WebSocket keep their
   * order; what is larger than 64 KiB goes by POST, and may be overtaken.
   */
  publish(feed: string, data: unknown, options?: PublishOptions): Promise<Receipt>;

  /**
   * Asks the service behind NATS that answers `requests.<name>`, and brings its answer's data. `timeout` is in ms, above 0
   * up to 60,000, 5,000 by default. Nothing is repeated. It needs a WebSocket.
   */
  request<Data = any>(name: string, data?: unknown, options?: { timeout?: number }): Promise<Data>;

  /** Ends everything; promises that are open are rejected. */
  close(): void;

  addEventListener<Type extends keyof ClientEvents>(
    type: Type,
    listener: ((event: ClientEvents[Type]) => void) | { handleEvent(event: ClientEvents[Type]): void } | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

/** Connects to the server at this URL, by default the one from which the page comes. Nothing is sent before a feed is asked for. */
export function connect(url?: string, options?: Options): Client;
