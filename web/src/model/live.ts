/** Keeps something up to date: by signals, and by asking now and then where there are none. */

import type { SignalsClient } from "../api/signals";
import type { NotificationSignal } from "../api/types";
import { Throttle } from "./throttle";

const REFRESH_INTERVAL = 2_000;
/** After a reconnection: everybody reconnects when a server restarts. */
const REFRESH_JITTER = 2_000;
const POLL_INTERVAL = 60_000;

export interface LiveOptions {
  signals: SignalsClient;
  refresh: () => void;
  onSignal?: (signal: NotificationSignal) => void;
  random?: () => number;
}

export class LiveUpdates {
  readonly #signals: SignalsClient;
  readonly #onSignal: ((signal: NotificationSignal) => void) | undefined;
  readonly #throttle: Throttle;
  readonly #random: () => number;
  #stopListening: (() => void) | null = null;
  #poll: ReturnType<typeof setInterval> | undefined;
  #reconnected: ReturnType<typeof setTimeout> | undefined;
  #connections = 0;
  #refreshedAt = 0;

  constructor({ signals, refresh, onSignal, random = Math.random }: LiveOptions) {
    this.#signals = signals;
    this.#onSignal = onSignal;
    this.#random = random;
    this.#throttle = new Throttle(() => {
      this.#refreshedAt = Date.now();
      refresh();
    }, REFRESH_INTERVAL);
  }

  start(): void {
    this.#refreshedAt = Date.now();
    this.#stopListening = this.#signals.listen({
      signal: (signal) => {
        this.#onSignal?.(signal);
        this.#throttle.call();
      },
      connected: () => this.#connected(),
    });
    this.#poll = setInterval(() => this.#pollOnce(), POLL_INTERVAL);
    document.addEventListener("visibilitychange", this.#visible);
    window.addEventListener("online", this.#online);
  }

  stop(): void {
    this.#stopListening?.();
    this.#stopListening = null;
    clearInterval(this.#poll);
    clearTimeout(this.#reconnected);
    this.#throttle.cancel();
    document.removeEventListener("visibilitychange", this.#visible);
    window.removeEventListener("online", this.#online);
  }

  #connected(): void {
    this.#connections += 1;
    // What was loaded before the first connection can be older than it, too.
    const delay = this.#connections === 1 ? 0 : this.#random() * REFRESH_JITTER;
    clearTimeout(this.#reconnected);
    this.#reconnected = setTimeout(() => this.#throttle.call(), delay);
  }

  #pollOnce(): void {
    if (!this.#signals.connected && document.visibilityState === "visible") {
      this.#throttle.call();
    }
  }

  readonly #visible = (): void => {
    // A sleeping machine's connection can be dead without either side knowing.
    if (document.visibilityState === "visible" && Date.now() - this.#refreshedAt > POLL_INTERVAL) {
      this.#throttle.call();
    }
  };

  readonly #online = (): void => {
    this.#signals.hurry();
    this.#throttle.call();
  };
}
