import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { InboxNotification } from "../../src/api/types";
import { snackbarOptions, Snacks } from "../../src/model/snacks";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const OPTIONS = snackbarOptions(null, true, 1000);
const some = (id: string): InboxNotification => ({ id }) as InboxNotification;
const ids = (snacks: Snacks): string[] => snacks.items.map(({ id }) => id);

test("upstream's newer property wins over the older ones", () => {
  expect(snackbarOptions({ maxSnack: 5, enabled: false }, true, 1000)).toMatchObject({
    enabled: false,
    autoHideDuration: 1000,
    maxSnack: 5,
    anchorOrigin: { vertical: "bottom", horizontal: "right" },
  });
});

test("each goes after its time", () => {
  const snacks = new Snacks(vi.fn());
  snacks.add(some("a"), OPTIONS);
  vi.advanceTimersByTime(600);
  snacks.add(some("b"), OPTIONS);
  vi.advanceTimersByTime(400);
  expect(ids(snacks)).toEqual(["b"]);
  vi.advanceTimersByTime(600);
  expect(ids(snacks)).toEqual([]);
});

test("the oldest go when there are too many, and the same comes once", () => {
  const snacks = new Snacks(vi.fn());
  for (const id of ["a", "b", "a", "c", "d"]) {
    snacks.add(some(id), OPTIONS);
  }
  expect(ids(snacks)).toEqual(["a", "c", "d"]);
  vi.advanceTimersByTime(1000);
  expect(ids(snacks)).toEqual([]);
});

test("they stay while somebody is at them", () => {
  const snacks = new Snacks(vi.fn());
  snacks.add(some("a"), OPTIONS);
  snacks.pause();
  snacks.add(some("b"), OPTIONS);
  vi.advanceTimersByTime(5000);
  expect(ids(snacks)).toEqual(["a", "b"]);
  snacks.resume();
  vi.advanceTimersByTime(1000);
  expect(ids(snacks)).toEqual([]);
});

test.each([null, 0])("with a duration of %s they stay", (autoHideDuration) => {
  const snacks = new Snacks(vi.fn());
  snacks.add(some("a"), { ...OPTIONS, autoHideDuration });
  vi.advanceTimersByTime(1e9);
  expect(ids(snacks)).toEqual(["a"]);
});

test("one that was closed with the pointer on it holds back no others", () => {
  const snacks = new Snacks(vi.fn());
  snacks.add(some("a"), OPTIONS);
  snacks.pause();
  snacks.remove(["a"]);
  snacks.add(some("b"), OPTIONS);
  vi.advanceTimersByTime(1000);
  expect(ids(snacks)).toEqual([]);
});

test("removing one that is not there changes nothing", () => {
  const changed = vi.fn();
  const snacks = new Snacks(changed);
  snacks.remove(["a"]);
  expect(changed).not.toHaveBeenCalled();
});
