import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { SignalListener, SignalsClient } from "../../src/api/signals";
import type { NotificationSignal } from "../../src/api/types";
import { LiveUpdates } from "../../src/model/live";

class FakeDocument extends EventTarget {
  visibilityState = "visible";
}

let listener: SignalListener;
const signals = {
  connected: true,
  hurry: vi.fn(),
  listen(added: SignalListener) {
    listener = added;
    return stopListening;
  },
};
const stopListening = vi.fn();
const refresh = vi.fn();
const onSignal = vi.fn();
const page = { document: new FakeDocument(), window: new EventTarget() };
let live: LiveUpdates;

const READ: NotificationSignal = { action: "notification_read", ids: [] };

beforeEach(() => {
  vi.useFakeTimers();
  vi.clearAllMocks();
  page.document = new FakeDocument();
  vi.stubGlobal("document", page.document);
  vi.stubGlobal("window", page.window);
  signals.connected = true;
  live = new LiveUpdates({
    signals: signals as unknown as SignalsClient,
    refresh,
    onSignal,
    random: () => 1,
  });
  live.start();
});
afterEach(() => {
  live.stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test("a signal is handed on at once, and refreshes at most every two seconds", () => {
  for (let number = 0; number < 10; number += 1) {
    listener.signal(READ);
  }
  expect(onSignal).toHaveBeenCalledTimes(10);
  expect(refresh).toHaveBeenCalledTimes(1);
  vi.advanceTimersByTime(1999);
  expect(refresh).toHaveBeenCalledTimes(1);
  vi.advanceTimersByTime(1);
  expect(refresh).toHaveBeenCalledTimes(2);
});

test("the first connection refreshes at once, a later one with jitter", () => {
  listener.connected();
  vi.advanceTimersByTime(0);
  expect(refresh).toHaveBeenCalledTimes(1);
  vi.advanceTimersByTime(10_000);
  listener.connected();
  vi.advanceTimersByTime(1999);
  expect(refresh).toHaveBeenCalledTimes(1);
  vi.advanceTimersByTime(1);
  expect(refresh).toHaveBeenCalledTimes(2);
});

test("without signals it is asked every minute, as long as somebody looks", () => {
  vi.advanceTimersByTime(180_000);
  expect(refresh).not.toHaveBeenCalled();
  signals.connected = false;
  vi.advanceTimersByTime(120_000);
  expect(refresh).toHaveBeenCalledTimes(2);
  page.document.visibilityState = "hidden";
  vi.advanceTimersByTime(600_000);
  expect(refresh).toHaveBeenCalledTimes(2);
});

test("who comes back after a while sees what is true now", () => {
  vi.advanceTimersByTime(1000);
  page.document.dispatchEvent(new Event("visibilitychange"));
  expect(refresh).not.toHaveBeenCalled();
  vi.advanceTimersByTime(120_000);
  page.document.dispatchEvent(new Event("visibilitychange"));
  expect(refresh).toHaveBeenCalledTimes(1);
});

test("when the network is back, so are we", () => {
  page.window.dispatchEvent(new Event("online"));
  expect(signals.hurry).toHaveBeenCalledTimes(1);
  expect(refresh).toHaveBeenCalledTimes(1);
});

test("after the end there is nothing any more", () => {
  listener.signal(READ);
  listener.connected();
  live.stop();
  signals.connected = false;
  vi.advanceTimersByTime(600_000);
  page.window.dispatchEvent(new Event("online"));
  expect(stopListening).toHaveBeenCalledTimes(1);
  expect(refresh).toHaveBeenCalledTimes(1);
});
