/** What the elements have in common: to whom they speak, and since when. */

import { LitElement, type PropertyValues } from "lit";
import { NotificationsClient } from "../api/client";
import { isUnauthenticated } from "../api/errors";
import { besideApi, SignalsClient, webSocketUrl } from "../api/signals";
import type { GetToken, NotificationSignal } from "../api/types";
import { LiveUpdates } from "../model/live";

/** Something was changed by an element of ours; others beside it read anew. Bubbles to the window. */
export const CHANGED = "notifications-changed";

/** Nobody is signed in; whoever has the page can do something about it. */
export const UNAUTHENTICATED = "notifications-unauthenticated";

/** Elements of one page that speak to one server as one user share a connection. */
const shared = new WeakMap<object, Map<string, SignalsClient>>();

/** Stands for the user of the browser's session. */
const SESSION = {};

export abstract class ConnectedElement extends LitElement {
  static override properties = {
    baseUrl: { attribute: "base-url" },
    signalsUrl: { attribute: "signals-url" },
    appBaseUrl: { attribute: "app-base-url" },
    getToken: { attribute: false },
    theme: { reflect: true },
  } as Record<string, object>;

  /** Of the REST API; relative to the document. */
  declare baseUrl: string;
  /** Of the signals; beside the REST API if it is not given. */
  declare signalsUrl: string | null;
  /** Against which links are resolved; the document's origin if it is not given. */
  declare appBaseUrl: string | null;
  /** Gives the user's token; without it the browser's session is used. */
  declare getToken: GetToken | undefined;
  /** `light` or `dark`; as the browser says if it is not given. */
  declare theme: string | null;

  protected client!: NotificationsClient;
  #live: LiveUpdates | null = null;
  /** Whether nobody is signed in: a session that ended does not come back by itself. */
  #refused = false;

  constructor() {
    super();
    this.baseUrl = "/api/notifications";
    this.signalsUrl = null;
    this.appBaseUrl = null;
    this.getToken = undefined;
    this.theme = null;
  }

  /** Begin, with another client than before if there was one; done with the first answer. */
  protected abstract connect(): Promise<unknown>;

  /** Read anew, without anybody having asked for it. */
  protected abstract refresh(): void;

  /** Whether `refresh` is to be called when something changed. */
  protected get isLive(): boolean {
    return true;
  }

  /** Hear of a signal before `refresh` is called for it. */
  protected onSignal(_signal: NotificationSignal): void {}

  protected get linkBase(): string {
    return new URL(this.appBaseUrl ?? "/", document.baseURI).href;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    window.addEventListener(CHANGED, this.#changedElsewhere);
    if (this.hasUpdated) {
      void this.#connect(); // Moved within the document.
    }
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    window.removeEventListener(CHANGED, this.#changedElsewhere);
    this.#stop();
  }

  protected override willUpdate(changed: PropertyValues): void {
    const connection = ["baseUrl", "signalsUrl", "getToken"];
    if (this.isConnected && connection.some((property) => changed.has(property))) {
      void this.#connect();
    }
  }

  /** Say that something was changed here. */
  protected announceChange(): void {
    this.dispatchEvent(new CustomEvent(CHANGED, { bubbles: true, composed: true }));
  }

  /** Begin anew, after an error. */
  protected restart(): void {
    void this.#connect();
    this.announceChange();
  }

  /** Say that nobody is signed in, if that is what went wrong. */
  protected announceError(error: unknown): void {
    if (isUnauthenticated(error)) {
      if (this.getToken === undefined) {
        this.#refused = true;
        this.#stop();
      }
      this.dispatchEvent(new CustomEvent(UNAUTHENTICATED, { bubbles: true, composed: true }));
    }
  }

  async #connect(): Promise<void> {
    this.#stop();
    this.#refused = false;
    const client = new NotificationsClient({ baseUrl: this.baseUrl, getToken: this.getToken });
    this.client = client;
    await this.connect();
    // Nobody connects who is not known to be somebody.
    if (this.isLive && this.isConnected && !this.#refused && this.client === client) {
      this.#live = new LiveUpdates({
        signals: this.#signals(),
        refresh: () => this.refresh(),
        onSignal: (signal) => this.onSignal(signal),
      });
      this.#live.start();
    }
  }

  #stop(): void {
    this.#live?.stop();
    this.#live = null;
  }

  #signals(): SignalsClient {
    const url = webSocketUrl(this.signalsUrl ?? besideApi(this.baseUrl), document.baseURI);
    const user = this.getToken ?? SESSION;
    const clients = shared.get(user) ?? new Map<string, SignalsClient>();
    shared.set(user, clients);
    const signals = clients.get(url) ?? new SignalsClient({ url, getToken: this.getToken });
    clients.set(url, signals);
    return signals;
  }

  readonly #changedElsewhere = (event: Event): void => {
    if (!this.isLive || event.composedPath()[0] === this) {
      return;
    }
    if (this.#refused) {
      void this.#connect();
    } else {
      this.refresh();
    }
  };
}
