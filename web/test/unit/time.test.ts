import { expect, test } from "vitest";
import { relativeTime } from "../../src/model/time";

const NOW = new Date("2026-03-10T12:00:00Z");
const MINUTE = 60;
const DAY = 24 * 60 * MINUTE;

test.each([
  [-120, "just now"],
  [0, "just now"],
  [59, "just now"],
  [60, "1 minute ago"],
  [59 * MINUTE, "59 minutes ago"],
  [60 * MINUTE, "1 hour ago"],
  [DAY, "yesterday"],
  [6 * DAY, "6 days ago"],
  [7 * DAY, "last week"],
  [29 * DAY, "4 weeks ago"],
  [60 * DAY, "2 months ago"],
  [800 * DAY, "2 years ago"],
])("%i s ago is %j", (seconds, expected) => {
  expect(relativeTime(new Date(NOW.getTime() - seconds * 1000), NOW)).toBe(expected);
});
