import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Coalesced, Throttle } from "../../src/model/throttle";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("with a leading call", () => {
  test("the first call is carried out at once, the last at the end, none between", () => {
    const action = vi.fn();
    const throttle = new Throttle(action, 1000);
    throttle.call();
    expect(action).toHaveBeenCalledTimes(1);
    throttle.call();
    throttle.call();
    vi.advanceTimersByTime(999);
    expect(action).toHaveBeenCalledTimes(1);
    vi.advanceTimersByTime(1);
    expect(action).toHaveBeenCalledTimes(2);
  });

  test("a storm of calls is one action an interval, and the interval is kept after the last", () => {
    const times: number[] = [];
    const throttle = new Throttle(() => times.push(Date.now()), 1000);
    for (let call = 0; call < 50; call += 1) {
      throttle.call();
      vi.advanceTimersByTime(100);
    }
    throttle.call();
    vi.advanceTimersByTime(5000);
    expect(times.length).toBe(7);
    times
      .slice(1)
      .forEach((time, index) => expect(time - times[index]!).toBeGreaterThanOrEqual(1000));
  });

  test("after a quiet interval a call is carried out at once again", () => {
    const action = vi.fn();
    const throttle = new Throttle(action, 1000);
    throttle.call();
    vi.advanceTimersByTime(1000);
    throttle.call();
    expect(action).toHaveBeenCalledTimes(2);
  });
});

describe("without a leading call", () => {
  test("nothing happens before the end of the interval", () => {
    const action = vi.fn();
    const throttle = new Throttle(action, 500, false);
    throttle.call();
    throttle.call();
    expect(action).not.toHaveBeenCalled();
    vi.advanceTimersByTime(500);
    expect(action).toHaveBeenCalledTimes(1);
    vi.advanceTimersByTime(5000);
    expect(action).toHaveBeenCalledTimes(1);
  });

  test("what waits can be carried out now, and then does not wait any more", () => {
    const action = vi.fn();
    const throttle = new Throttle(action, 500, false);
    throttle.flush();
    expect(action).not.toHaveBeenCalled();
    throttle.call();
    throttle.flush();
    expect(action).toHaveBeenCalledTimes(1);
    vi.advanceTimersByTime(5000);
    expect(action).toHaveBeenCalledTimes(1);
  });

  test("what waits can be cancelled", () => {
    const action = vi.fn();
    const throttle = new Throttle(action, 500, false);
    throttle.call();
    throttle.cancel();
    vi.advanceTimersByTime(5000);
    expect(action).not.toHaveBeenCalled();
  });
});

describe("coalesced", () => {
  test("calls meanwhile are one more, and never beside", async () => {
    const ends: (() => void)[] = [];
    const action = vi.fn(() => new Promise<void>((resolve) => ends.push(resolve)));
    const coalesced = new Coalesced(action);
    const first = coalesced.call();
    await coalesced.call();
    await coalesced.call();
    expect(action).toHaveBeenCalledTimes(1);
    ends[0]!();
    await vi.waitFor(() => expect(action).toHaveBeenCalledTimes(2));
    ends[1]!();
    await first;
    expect(action).toHaveBeenCalledTimes(2);
  });

  test("one that fails does not stop the next", async () => {
    const action = vi.fn().mockRejectedValueOnce(new Error("no"));
    const coalesced = new Coalesced(action);
    await expect(coalesced.call()).rejects.toThrow("no");
    await coalesced.call();
    expect(action).toHaveBeenCalledTimes(2);
  });
});
