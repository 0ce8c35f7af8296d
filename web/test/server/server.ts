/**
 * A server that behaves as the gateway does towards a browser: REST, signals, the built page, with
 * the gateway's headers. Tests put notifications into it, and faults.
 */

import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import type { SettingsMatrix } from "../../src/api/types";
import * as requests from "./requests";
import { Refusal } from "./requests";
import { Signals } from "./signals";
import { Store, type New, type Stored } from "./store";

const DIST = fileURLToPath(new URL("../../dist/", import.meta.url));
const PREFIX = "/api/notifications";

/** As the gateway's (`gateway/page/routes.py`): no string becomes markup or script. */
export const CSP = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types lit-html",
].join("; ");

const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
};

export interface Fault {
  method: string;
  /** Below `/api/notifications`. */
  path: string;
  /** The status to answer with, or nothing at all. */
  answer: number | "hang up";
  /** How many requests it hits. */
  times: number;
}

export interface Seen {
  method: string;
  path: string;
  query: URLSearchParams;
  body: unknown;
}

export class MockServer {
  readonly store = new Store();
  readonly signals: Signals;
  readonly tokens = new Map<string, string>();
  readonly sessions = new Map<string, string>();
  readonly portals = new Set<string>();
  /** API requests, in their order. */
  readonly seen: Seen[] = [];
  /** What `page.json` says; there is none if it is `null`. */
  config: Record<string, unknown> | null = null;
  /** Before each answer of the API, in milliseconds. */
  delay = 0;
  /** Most requests for the list of notifications that waited for their answers at the same time. */
  mostListsAtOnce = 0;
  #lists = 0;
  matrix: SettingsMatrix = { channels: [] };
  readonly #faults: Fault[] = [];
  readonly #http: Server;

  private constructor() {
    this.#http = createServer((request, response) => void this.#serve(request, response));
    this.signals = new Signals(this.#http, (request, token) =>
      this.#allowsOrigin(request) ? this.#user(request, token) : null,
    );
  }

  static async start(): Promise<MockServer> {
    const server = new MockServer();
    await new Promise<void>((resolve) => server.#http.listen(0, "127.0.0.1", resolve));
    return server;
  }

  async stop(): Promise<void> {
    this.signals.drop();
    this.#http.closeAllConnections();
    await new Promise((resolve) => this.#http.close(resolve));
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }

  /** Put something into the inbox, and tell. */
  post(user: string | null, notification: New, reader = "user:default/ada"): Stored {
    const stored = this.store.add(user, notification, reader);
    this.signals.publish(user, {
      action: "new_notification",
      notification_id: stored.id,
      notification: Store.json(stored, reader),
    });
    return stored;
  }

  fail(fault: Omit<Fault, "times"> & { times?: number }): void {
    this.#faults.push({ times: 1, ...fault });
  }

  requestsTo(method: string, path: string): Seen[] {
    return this.seen.filter((seen) => seen.method === method && seen.path === path);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url!, this.origin);
    try {
      if (url.pathname.startsWith(`${PREFIX}/`)) {
        await this.#serveApi(request, response, url);
      } else {
        await this.#servePage(request, response, url);
      }
    } catch (error) {
      const refusal =
        error instanceof Refusal ? error : new Refusal(500, "Error", `A fault: ${String(error)}`);
      answer(response, refusal.status, {
        error: { name: refusal.name, message: refusal.message },
        request: { method: request.method, url: url.pathname },
        response: { statusCode: refusal.status },
      });
    }
  }

  async #serveApi(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const { origin } = request.headers;
    if (origin !== undefined && this.portals.has(origin)) {
      response.setHeader("Access-Control-Allow-Origin", origin);
      response.setHeader("Access-Control-Allow-Headers", "Authorization, Content-Type");
      response.setHeader("Vary", "Origin");
      if (request.method === "OPTIONS") {
        response.writeHead(204).end();
        return;
      }
    }
    const path = url.pathname.slice(PREFIX.length);
    const body = await readBody(request);
    this.seen.push({ method: request.method!, path, query: url.searchParams, body });
    await this.#wait(request.method === "GET" && path === "/notifications");
    const fault = this.#faults.find(
      (candidate) =>
        candidate.times > 0 && candidate.method === request.method && candidate.path === path,
    );
    if (fault) {
      fault.times -= 1;
      if (fault.answer === "hang up") {
        request.socket.destroy();
        return;
      }
      throw new Refusal(fault.answer, "TestError", "as the test wants it");
    }
    const result = this.#handle(request, path, url.searchParams, body);
    answer(response, 200, result);
  }

  async #wait(listing: boolean): Promise<void> {
    this.#lists += Number(listing);
    this.mostListsAtOnce = Math.max(this.mostListsAtOnce, this.#lists);
    await new Promise((resolve) => setTimeout(resolve, this.delay));
    this.#lists -= Number(listing);
  }

  #handle(request: IncomingMessage, path: string, query: URLSearchParams, body: unknown): unknown {
    const user = this.#user(request, bearer(request));
    if (user === null) {
      throw new Refusal(401, "AuthenticationError", "Missing credentials");
    }
    if (request.method === "POST") {
      this.#checkChange(request);
    }
    const single = /^\/notifications\/([^/]+)$/.exec(path);
    switch (`${request.method} ${path}`) {
      case "GET /notifications":
        return this.#list(user, query);
      case "GET /status":
        requests.noQuery(query);
        return {
          unread: this.store.find(user, { read: false }).length,
          read: this.store.find(user, { read: true }).length,
        };
      case "GET /topics":
        return { topics: this.#topics(user, query) };
      case "GET /settings":
        requests.noQuery(query);
        return this.store.settings.get(user) ?? this.matrix;
      case "POST /settings":
        this.store.settings.set(user, requests.settings(body, this.matrix));
        return body;
      case "POST /notifications/update":
        return this.#update(user, requests.update(body));
      case "POST /notifications/read-all":
        requests.nothing(body);
        return this.#readAll(user);
    }
    if (request.method === "GET" && single) {
      requests.noQuery(query);
      const stored = this.store.get(user, requests.id(decodeURIComponent(single[1]!)));
      if (stored) {
        return Store.json(stored, user);
      }
    }
    throw new Refusal(404, "NotFoundError", "Not found");
  }

  #list(user: string, query: URLSearchParams): unknown {
    const { filters, limit, offset, orders } = requests.listOptions(query);
    const found = this.store.list(user, filters, orders);
    return {
      totalCount: found.length,
      notifications: found.slice(offset, offset + limit).map((stored) => Store.json(stored, user)),
    };
  }

  #topics(user: string, query: URLSearchParams): string[] {
    const found = this.store.find(user, requests.topicsFilters(query));
    const topics = found.flatMap(({ payload }) => (payload.topic ? [payload.topic] : []));
    return [...new Set(topics)].sort();
  }

  #update(
    user: string,
    { ids, ...change }: { ids: string[]; read?: boolean; saved?: boolean },
  ): unknown {
    const changed = this.store.update(user, ids, change);
    if (change.read !== undefined) {
      this.signals.publish(user, {
        action: change.read ? "notification_read" : "notification_unread",
        notification_ids: ids,
      });
    }
    return changed.map((stored) => Store.json(stored, user));
  }

  #readAll(user: string): unknown {
    const ids = this.store.find(user, { read: false }).map(({ id }) => id);
    this.#update(user, { ids, read: true });
    return { updated: ids.length };
  }

  #user(request: IncomingMessage, token: string | null): string | null {
    if (token !== null) {
      return this.tokens.get(token) ?? null;
    }
    const session = /(?:^|; )session=([^;]*)/.exec(request.headers.cookie ?? "")?.[1];
    return this.sessions.get(session ?? "") ?? null;
  }

  #allowsOrigin({ headers: { origin } }: IncomingMessage): boolean {
    return origin !== undefined && (origin === this.origin || this.portals.has(origin));
  }

  #checkChange(request: IncomingMessage): void {
    if (request.headers["content-type"] !== "application/json") {
      throw new Refusal(415, "InputError", "JSON is needed");
    }
    const ownPage =
      request.headers.origin === this.origin && request.headers["sec-fetch-site"] === "same-origin";
    if (request.headers.authorization === undefined && !ownPage) {
      throw new Refusal(403, "NotAllowedError", "by cookie, only from the gateway's own page");
    }
  }

  async #servePage(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    response.setHeader("Content-Security-Policy", CSP);
    response.setHeader("X-Content-Type-Options", "nosniff");
    switch (url.pathname) {
      case "/page.json":
        if (this.config === null) {
          throw new Refusal(404, "NotFoundError", "Not found");
        }
        answer(response, 200, this.config);
        return;
      case "/auth/session": {
        const user = this.#user(request, null);
        if (user === null) {
          throw new Refusal(401, "AuthenticationError", "Missing credentials");
        }
        answer(response, 200, { userEntityRef: user, expiresAt: null });
        return;
      }
      case "/auth/logout":
        this.#checkChange(request);
        this.sessions.clear();
        response.writeHead(204).end();
        return;
    }
    await serveFile(response, url.pathname === "/" ? "/index.html" : url.pathname);
  }
}

async function serveFile(response: ServerResponse, path: string): Promise<void> {
  const file = join(DIST, normalize(path));
  let content: Buffer;
  try {
    content = await readFile(file);
  } catch {
    throw new Refusal(404, "NotFoundError", "Not found");
  }
  if (path === "/notifications.js") {
    response.setHeader("Cross-Origin-Resource-Policy", "cross-origin");
  }
  response.writeHead(200, { "Content-Type": TYPES[extname(file)] ?? "application/octet-stream" });
  response.end(content);
}

function bearer(request: IncomingMessage): string | null {
  return /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1] ?? null;
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) {
    chunks.push(chunk as Buffer);
  }
  const text = Buffer.concat(chunks).toString("utf8");
  return text === "" ? undefined : JSON.parse(text);
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
}
