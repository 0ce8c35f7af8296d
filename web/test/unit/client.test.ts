import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { NotificationsClient } from "../../src/api/client";
import { ConnectionError, isAborted, ResponseError } from "../../src/api/errors";
import { listQuery, INITIAL } from "../../src/model/view";
import { MockServer } from "../server/server";

const ADA = "user:default/ada";
let server: MockServer;
let client: NotificationsClient;

beforeEach(async () => {
  server = await MockServer.start();
  server.tokens.set("token-of-ada", ADA);
  client = new NotificationsClient({
    baseUrl: `${server.origin}/api/notifications/`,
    getToken: async () => "token-of-ada",
  });
});
afterEach(() => server.stop());

test("lists what is asked for, with everything that can be asked", async () => {
  server.post(ADA, { payload: { title: "One & two", severity: "high", topic: "a b" } });
  server.post(ADA, { payload: { title: "Other" } });
  const now = new Date();
  const state = {
    ...INITIAL,
    age: "24h",
    minSeverity: "high",
    topic: "a b",
    search: "one &",
  } as const;
  const page = await client.list(listQuery(state, now));
  expect(page.totalCount).toBe(1);
  expect(page.notifications[0]!.payload.title).toBe("One & two");
  const { query } = server.requestsTo("GET", "/notifications")[0]!;
  expect(query.getAll("orderField")).toEqual(["created,desc"]);
});

test("gets, counts, updates and marks all", async () => {
  const { id } = server.post(ADA, { payload: { title: "One", topic: "t" } });
  expect((await client.get(id)).payload.title).toBe("One");
  expect(await client.topics({ read: false })).toEqual(["t"]);
  expect(await client.status()).toEqual({ unread: 1, read: 0 });
  const [updated] = await client.update({ ids: [id], read: true, saved: true });
  expect(updated!.read).toBeInstanceOf(Date);
  server.post(null, { payload: { title: "Two" } });
  await client.markAllRead();
  expect(await client.status()).toEqual({ unread: 0, read: 2 });
});

test("settings go there and back", async () => {
  server.matrix = { channels: [{ id: "Web", origins: [{ id: "o", enabled: true }] }] };
  const matrix = await client.settings();
  expect(matrix).toEqual(server.matrix);
  matrix.channels[0]!.origins[0]!.enabled = false;
  expect(await client.saveSettings(matrix)).toEqual(matrix);
});

describe("errors", () => {
  test("carry the envelope's name and message", async () => {
    const strange = new NotificationsClient({
      baseUrl: `${server.origin}/api/notifications`,
      getToken: () => "nobody's",
    });
    const error = await strange.status().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ResponseError);
    expect(error).toMatchObject({
      name: "AuthenticationError",
      message: "Missing credentials",
      status: 401,
    });
  });

  test("that are a proxy's page say the status", async () => {
    const proxy = new NotificationsClient({
      baseUrl: `${server.origin}/nowhere`,
      getToken: () => "x",
    });
    await expect(proxy.status()).rejects.toMatchObject({ status: 404 });
  });

  test("of the connection", async () => {
    server.fail({ method: "GET", path: "/status", answer: "hang up" });
    await expect(client.status()).rejects.toBeInstanceOf(ConnectionError);
  });

  test("of a server that does not answer", async () => {
    server.delay = 10_000;
    const hasty = new NotificationsClient({
      baseUrl: `${server.origin}/api/notifications`,
      getToken: () => "token-of-ada",
      timeout: 50,
    });
    await expect(hasty.status()).rejects.toThrow("did not answer within 0.05 s");
  });

  test("of a token that cannot be had", async () => {
    const broken = new NotificationsClient({
      baseUrl: server.origin,
      getToken: () => Promise.reject(new Error("signed out")),
    });
    await expect(broken.status()).rejects.toThrow("signed out");
  });
});

test("what is given up is no error of the connection", async () => {
  server.delay = 10_000;
  const abort = new AbortController();
  const request = client.status(abort.signal).catch((reason: unknown) => reason);
  abort.abort();
  expect(isAborted(await request)).toBe(true);
});
