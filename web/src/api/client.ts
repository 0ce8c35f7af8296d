/** Backstage's REST API of notifications, as seen by a user. */

import { ConnectionError, isAborted, ResponseError, UnexpectedAnswerError } from "./errors";
import {
  parseNotification,
  parseNotificationPage,
  parseNotifications,
  parseSettings,
  parseStatus,
  parseTopics,
} from "./parse";
import type {
  CommonQuery,
  GetToken,
  InboxNotification,
  ListQuery,
  NotificationPage,
  SettingsMatrix,
  Status,
  Update,
} from "./types";

const TIMEOUT = 30_000;

export interface ClientOptions {
  /** Of the API, as `/api/notifications`; relative to the document. */
  baseUrl: string;
  /** Without it, the browser's own session is used: its cookie, on the same origin only. */
  getToken?: GetToken | undefined;
  /** In milliseconds. */
  timeout?: number;
}

export class NotificationsClient {
  readonly #baseUrl: string;
  readonly #getToken: GetToken | undefined;
  readonly #timeout: number;

  constructor({ baseUrl, getToken, timeout = TIMEOUT }: ClientOptions) {
    this.#baseUrl = baseUrl.replace(/\/+$/, "");
    this.#getToken = getToken;
    this.#timeout = timeout;
  }

  async list(query: ListQuery, signal?: AbortSignal): Promise<NotificationPage> {
    const parameters = commonParameters(query);
    parameters.append("limit", String(query.limit));
    parameters.append("offset", String(query.offset));
    for (const { field, direction } of query.orders) {
      parameters.append("orderField", `${field},${direction}`);
    }
    if (query.topic !== undefined) {
      parameters.append("topic", query.topic);
    }
    return parseNotificationPage(await this.#get(`/notifications?${parameters}`, signal));
  }

  async get(id: string, signal?: AbortSignal): Promise<InboxNotification> {
    return parseNotification(await this.#get(`/notifications/${encodeURIComponent(id)}`, signal));
  }

  async status(signal?: AbortSignal): Promise<Status> {
    return parseStatus(await this.#get("/status", signal));
  }

  async topics(query: CommonQuery, signal?: AbortSignal): Promise<string[]> {
    return parseTopics(await this.#get(`/topics?${commonParameters(query)}`, signal));
  }

  async update(update: Update): Promise<InboxNotification[]> {
    return parseNotifications(await this.#post("/notifications/update", update));
  }

  /** Mark everything read that is unread, in one request; an addition to upstream's API. */
  async markAllRead(): Promise<void> {
    await this.#post("/notifications/read-all", {});
  }

  async settings(signal?: AbortSignal): Promise<SettingsMatrix> {
    return parseSettings(await this.#get("/settings", signal));
  }

  async saveSettings(settings: SettingsMatrix): Promise<SettingsMatrix> {
    return parseSettings(await this.#post("/settings", settings));
  }

  #get(path: string, signal?: AbortSignal): Promise<unknown> {
    return this.#request(path, signal ? { signal } : {});
  }

  #post(path: string, body: unknown): Promise<unknown> {
    return this.#request(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      keepalive: true, // A link that marks as read leaves this page at once.
    });
  }

  async #request(path: string, init: RequestInit): Promise<unknown> {
    const headers = new Headers(init.headers);
    headers.set("Accept", "application/json");
    const token = await this.#getToken?.();
    if (token) {
      headers.set("Authorization", `Bearer ${token}`);
    }
    const timeout = AbortSignal.timeout(this.#timeout);
    const response = await this.#fetch(path, {
      ...init,
      headers,
      credentials: this.#getToken ? "omit" : "same-origin",
      redirect: "error", // An API does not redirect; a login page would be taken for an answer.
      signal: init.signal ? AbortSignal.any([init.signal, timeout]) : timeout,
    });
    if (!response.ok) {
      throw await ResponseError.from(response);
    }
    try {
      return await response.json();
    } catch (error) {
      throw error instanceof SyntaxError
        ? new UnexpectedAnswerError("The server's answer is not JSON")
        : this.#failure(error);
    }
  }

  async #fetch(path: string, init: RequestInit): Promise<Response> {
    try {
      return await fetch(`${this.#baseUrl}${path}`, init);
    } catch (error) {
      throw this.#failure(error);
    }
  }

  #failure(error: unknown): unknown {
    if (isAborted(error)) {
      return error;
    }
    return new ConnectionError(
      error instanceof Error && error.name === "TimeoutError"
        ? `The server did not answer within ${this.#timeout / 1000} s`
        : "The server cannot be reached",
    );
  }
}

function commonParameters(query: CommonQuery): URLSearchParams {
  const parameters = new URLSearchParams();
  if (query.search) {
    parameters.append("search", query.search);
  }
  if (query.read !== undefined) {
    parameters.append("read", String(query.read));
  }
  if (query.saved !== undefined) {
    parameters.append("saved", String(query.saved));
  }
  if (query.createdAfter !== undefined) {
    parameters.append("createdAfter", query.createdAfter.toISOString());
  }
  if (query.minimumSeverity !== undefined) {
    parameters.append("minimumSeverity", query.minimumSeverity);
  }
  return parameters;
}
