/**
 * Signals: Backstage's WebSocket protocol, by which a client learns that something changed.
 *
 * They are delivered at most once: whoever was not connected must read anew. Therefore listeners are
 * told of every connection, the first one too.
 */

import { parseSignal } from "./parse";
import type { GetToken, NotificationSignal } from "./types";

const CHANNEL = "notifications";
const CONNECT_TIMEOUT = 10_000;
const FIRST_DELAY = 1_000;
const LONGEST_DELAY = 30_000;
/** A connection that lived so long was a good one: the next delay is the first again. */
const STABLE_AFTER = 10_000;
/** RFC 6455 section 7.4.1 and IANA's registry: try again later. The server says so to slow readers. */
const TRY_AGAIN_LATER = 1013;
const CLOSED_BY_US = 1000;

export interface SignalListener {
  /** Something changed. */
  signal(signal: NotificationSignal): void;
  /** A connection is there: what happened before it is not known. */
  connected(): void;
}

export interface SignalsOptions {
  /** Of the WebSocket, `ws:` or `wss:`. */
  url: string;
  getToken?: GetToken | undefined;
  /** From 0 to 1, as `Math.random`. */
  random?: () => number;
}

/** One connection, for any number of listeners; there while somebody listens. */
export class SignalsClient {
  readonly #url: string;
  readonly #getToken: GetToken | undefined;
  readonly #random: () => number;
  readonly #listeners = new Set<SignalListener>();
  #socket: WebSocket | null = null;
  #connectedAt: number | null = null;
  #failures = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Raised when nobody listens any more: attempts under way then know that they are void. */
  #epoch = 0;

  constructor({ url, getToken, random = Math.random }: SignalsOptions) {
    this.#url = url;
    this.#getToken = getToken;
    this.#random = random;
  }

  get connected(): boolean {
    return this.#connectedAt !== null;
  }

  /** Listen; the answer ends it. */
  listen(listener: SignalListener): () => void {
    this.#listeners.add(listener);
    if (this.#listeners.size === 1) {
      void this.#connect();
    } else if (this.connected) {
      listener.connected();
    }
    return () => {
      if (this.#listeners.delete(listener) && this.#listeners.size === 0) {
        this.#stop();
      }
    };
  }

  /** Connect at once instead of waiting, as when the network is back. */
  hurry(): void {
    if (this.#timer !== undefined) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
      void this.#connect();
    }
  }

  async #connect(): Promise<void> {
    const epoch = this.#epoch;
    let socket: WebSocket;
    try {
      const token = await this.#getToken?.();
      if (epoch !== this.#epoch) {
        return;
      }
      socket = token ? new WebSocket(this.#url, [token]) : new WebSocket(this.#url);
    } catch (error) {
      // No token to be had now, or one that cannot be a subprotocol (RFC 6455 section 4.1).
      if (epoch === this.#epoch) {
        console.warn("notifications: no live updates:", error);
        this.#retry();
      }
      return;
    }
    this.#socket = socket;
    const timeout = setTimeout(() => socket.close(), CONNECT_TIMEOUT);
    socket.addEventListener("open", () => {
      clearTimeout(timeout);
      if (epoch === this.#epoch) {
        this.#opened(socket);
      }
    });
    socket.addEventListener("message", (event) => {
      if (epoch === this.#epoch) {
        this.#received(event.data);
      }
    });
    socket.addEventListener("close", (event) => {
      clearTimeout(timeout);
      if (epoch === this.#epoch) {
        this.#closed(event.code);
      }
    });
  }

  #opened(socket: WebSocket): void {
    this.#connectedAt = Date.now();
    socket.send(JSON.stringify({ action: "subscribe", channel: CHANNEL }));
    for (const listener of [...this.#listeners]) {
      listener.connected();
    }
  }

  #received(data: unknown): void {
    const signal = readSignal(data);
    if (signal === null) {
      return;
    }
    for (const listener of [...this.#listeners]) {
      listener.signal(signal);
    }
  }

  #closed(code: number): void {
    const stable = this.#connectedAt !== null && Date.now() - this.#connectedAt >= STABLE_AFTER;
    this.#connectedAt = null;
    this.#socket = null;
    if (stable) {
      this.#failures = 0;
    }
    if (code === TRY_AGAIN_LATER) {
      this.#failures = Math.max(this.#failures, 2);
    }
    this.#retry();
  }

  #retry(): void {
    const longest = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** this.#failures);
    this.#failures += 1;
    // Jitter: a server that restarts loses everybody at once and must not get them back so.
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        void this.#connect();
      },
      longest * (0.5 + this.#random() / 2),
    );
  }

  #stop(): void {
    this.#epoch += 1;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#socket?.close(CLOSED_BY_US);
    this.#socket = null;
    this.#connectedAt = null;
    this.#failures = 0;
  }
}

/** Return where the signals are when the REST API is there: upstream's plugins are siblings. */
export function besideApi(baseUrl: string): string {
  return baseUrl.replace(/\/+$/, "").replace(/[^/]*$/, "signals");
}

/** Return the address of a WebSocket, which may be said relative to the document. */
export function webSocketUrl(url: string, documentUrl: string): string {
  const absolute = new URL(url, documentUrl);
  absolute.protocol = ["https:", "wss:"].includes(absolute.protocol) ? "wss:" : "ws:";
  return absolute.href;
}

function readSignal(data: unknown): NotificationSignal | null {
  if (typeof data !== "string") {
    return null;
  }
  try {
    const { channel, message } = JSON.parse(data) as { channel?: unknown; message?: unknown };
    return channel === CHANNEL ? parseSignal(message) : null;
  } catch (error) {
    console.warn("notifications: a signal that is none:", error);
    return null;
  }
}
