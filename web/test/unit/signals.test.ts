import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { besideApi, SignalsClient, webSocketUrl, type SignalListener } from "../../src/api/signals";

/** As the browser's, as far as it is used. */
class FakeWebSocket extends EventTarget {
  static readonly all: FakeWebSocket[] = [];
  readonly sent: string[] = [];
  closedWith: number | undefined;

  constructor(
    readonly url: string,
    readonly protocols: string[] = [],
  ) {
    super();
    if (protocols.some((protocol) => !/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(protocol))) {
      throw new SyntaxError("not a subprotocol");
    }
    FakeWebSocket.all.push(this);
  }

  static get last(): FakeWebSocket {
    return FakeWebSocket.all.at(-1)!;
  }

  send(data: string): void {
    this.sent.push(data);
  }

  close(code = 1005): void {
    this.closedWith = code;
    this.closed(1006);
  }

  opened(): void {
    this.dispatchEvent(new Event("open"));
  }

  receives(data: unknown): void {
    this.dispatchEvent(Object.assign(new Event("message"), { data }));
  }

  closed(code: number): void {
    this.dispatchEvent(Object.assign(new Event("close"), { code }));
  }
}

const READ = { action: "notification_read", notification_ids: ["1"] };
const message = (channel: string, body: unknown): string =>
  JSON.stringify({ channel, message: body });

function listener() {
  return { signal: vi.fn(), connected: vi.fn() } satisfies SignalListener;
}

function client(getToken?: () => Promise<string>): SignalsClient {
  return new SignalsClient({ url: "ws://x/api/signals", getToken, random: () => 1 });
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("WebSocket", FakeWebSocket);
  vi.spyOn(console, "warn").mockImplementation(() => {});
  FakeWebSocket.all.length = 0;
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

const settle = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0);

test("connects with the token as subprotocol, subscribes, and hands signals on", async () => {
  const heard = listener();
  client(async () => "header.payload.signature").listen(heard);
  await settle();
  expect(FakeWebSocket.last.protocols).toEqual(["header.payload.signature"]);
  FakeWebSocket.last.opened();
  expect(FakeWebSocket.last.sent).toEqual(['{"action":"subscribe","channel":"notifications"}']);
  expect(heard.connected).toHaveBeenCalledTimes(1);
  FakeWebSocket.last.receives(message("notifications", READ));
  expect(heard.signal).toHaveBeenCalledWith({ action: "notification_read", ids: ["1"] });
});

test("without a token there is no subprotocol: the session's cookie goes along", async () => {
  client().listen(listener());
  await settle();
  expect(FakeWebSocket.last.protocols).toEqual([]);
});

test.each([
  "no JSON",
  "null",
  new ArrayBuffer(3),
  message("other", READ),
  message("notifications", { action: "new_notification" }),
  message("notifications", { action: "unheard of" }),
])("%j is no signal", async (data) => {
  const heard = listener();
  client().listen(heard);
  await settle();
  FakeWebSocket.last.opened();
  FakeWebSocket.last.receives(data);
  expect(heard.signal).not.toHaveBeenCalled();
});

test("listeners share a connection; the last one closes it", async () => {
  const signals = client();
  const [first, second] = [listener(), listener()];
  const stopFirst = signals.listen(first);
  await settle();
  FakeWebSocket.last.opened();
  const stopSecond = signals.listen(second);
  expect(second.connected).toHaveBeenCalledTimes(1);
  expect(FakeWebSocket.all).toHaveLength(1);
  stopFirst();
  expect(FakeWebSocket.last.closedWith).toBeUndefined();
  stopSecond();
  expect(FakeWebSocket.last.closedWith).toBe(1000);
  expect(signals.connected).toBe(false);
  await vi.advanceTimersByTimeAsync(100_000);
  expect(FakeWebSocket.all).toHaveLength(1);
});

test.each([1000, 1001, 1006, 4401])("reconnects after a close with %i", async (code) => {
  const heard = listener();
  client().listen(heard);
  await settle();
  FakeWebSocket.last.opened();
  FakeWebSocket.last.closed(code);
  await vi.advanceTimersByTimeAsync(1000);
  expect(FakeWebSocket.all).toHaveLength(2);
  FakeWebSocket.last.opened();
  expect(heard.connected).toHaveBeenCalledTimes(2);
  expect(FakeWebSocket.last.sent).toHaveLength(1);
});

test("waits longer from attempt to attempt, up to a bound, with jitter", async () => {
  const random = vi.fn(() => 1);
  new SignalsClient({ url: "ws://x/api/signals", random }).listen(listener());
  await settle();
  for (const delay of [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]) {
    const before = FakeWebSocket.all.length;
    FakeWebSocket.last.closed(1006);
    await vi.advanceTimersByTimeAsync(delay - 1);
    expect(FakeWebSocket.all).toHaveLength(before);
    await vi.advanceTimersByTimeAsync(1);
    expect(FakeWebSocket.all).toHaveLength(before + 1);
  }
  random.mockReturnValue(0);
  FakeWebSocket.last.closed(1006);
  await vi.advanceTimersByTimeAsync(15_000);
  expect(FakeWebSocket.all).toHaveLength(9);
});

test("a connection that lived counts as good; one that was cut at once does not", async () => {
  client().listen(listener());
  await settle();
  FakeWebSocket.last.closed(1006);
  await vi.advanceTimersByTimeAsync(1000);
  FakeWebSocket.last.opened();
  FakeWebSocket.last.closed(4401);
  await vi.advanceTimersByTimeAsync(1999);
  expect(FakeWebSocket.all).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(1);
  FakeWebSocket.last.opened();
  await vi.advanceTimersByTimeAsync(10_000);
  FakeWebSocket.last.closed(1006);
  await vi.advanceTimersByTimeAsync(1000);
  expect(FakeWebSocket.all).toHaveLength(4);
});

test("a server that was overrun is left alone for longer", async () => {
  client().listen(listener());
  await settle();
  FakeWebSocket.last.opened();
  FakeWebSocket.last.closed(1013);
  await vi.advanceTimersByTimeAsync(3999);
  expect(FakeWebSocket.all).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(FakeWebSocket.all).toHaveLength(2);
});

test("a handshake that hangs is given up", async () => {
  client().listen(listener());
  await settle();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(FakeWebSocket.last.closedWith).toBe(1005);
  await vi.advanceTimersByTimeAsync(1000);
  expect(FakeWebSocket.all).toHaveLength(2);
});

test("every attempt has a token of its own; one that fails is tried again", async () => {
  const tokens = ["not a subprotocol", "second"];
  const getToken = vi.fn(async () => {
    const token = tokens.shift();
    if (token === undefined) {
      throw new Error("none");
    }
    return token;
  });
  client(getToken).listen(listener());
  await settle();
  expect(FakeWebSocket.all).toHaveLength(0);
  await vi.advanceTimersByTimeAsync(1000);
  expect(FakeWebSocket.last.protocols).toEqual(["second"]);
  FakeWebSocket.last.closed(1006);
  await vi.advanceTimersByTimeAsync(100_000);
  expect(getToken.mock.calls.length).toBeGreaterThan(3);
});

test("nobody listening any more while the token is fetched: no connection", async () => {
  const signals = client(async () => "t");
  signals.listen(listener())();
  await settle();
  expect(FakeWebSocket.all).toHaveLength(0);
});

test("can be told to hurry", async () => {
  const signals = client();
  signals.listen(listener());
  await settle();
  signals.hurry();
  await settle();
  expect(FakeWebSocket.all).toHaveLength(1);
  FakeWebSocket.last.closed(1006);
  signals.hurry();
  await settle();
  expect(FakeWebSocket.all).toHaveLength(2);
});

test.each([
  ["/api/notifications", "/api/signals"],
  ["/api/notifications/", "/api/signals"],
  ["https://gw.example/x/api/notifications", "https://gw.example/x/api/signals"],
  ["api/notifications", "api/signals"],
])("beside %s there is %s", (base, expected) => {
  expect(besideApi(base)).toBe(expected);
});

test.each([
  ["/api/signals", "https://p.example/notifications?x", "wss://p.example/api/signals"],
  ["/api/signals", "http://localhost:1/", "ws://localhost:1/api/signals"],
  ["https://gw.example/api/signals", "http://p.example/", "wss://gw.example/api/signals"],
  ["wss://gw.example/api/signals", "http://p.example/", "wss://gw.example/api/signals"],
])("%s on %s is %s", (url, document, expected) => {
  expect(webSocketUrl(url, document)).toBe(expected);
});
