import { describe, expect, test } from "vitest";
import { UnexpectedAnswerError } from "../../src/api/errors";
import {
  parseNotification,
  parseNotificationPage,
  parseSettings,
  parseSignal,
  parseStatus,
} from "../../src/api/parse";

const NOTIFICATION = {
  id: "1",
  user: null,
  created: "2026-01-01T00:00:00.000Z",
  updated: null,
  read: null,
  saved: "2026-01-02T00:00:00.000Z",
  origin: "o",
  payload: { title: "t", description: null, link: "/x", severity: "high", topic: "", icon: null },
};

test("a notification", () => {
  const parsed = parseNotification(NOTIFICATION);
  expect(parsed.created).toEqual(new Date("2026-01-01T00:00:00Z"));
  expect(parsed.saved).toEqual(new Date("2026-01-02T00:00:00Z"));
  expect(parsed.payload).toEqual({
    title: "t",
    description: null,
    link: "/x",
    severity: "high",
    topic: null,
    scope: null,
    icon: null,
  });
});

test("an unknown severity is normal, as upstream takes it", () => {
  const payload = { ...NOTIFICATION.payload, severity: "constructor" };
  expect(parseNotification({ ...NOTIFICATION, payload }).payload.severity).toBe("normal");
});

test.each([
  null,
  [],
  "text",
  { ...NOTIFICATION, id: 1 },
  { ...NOTIFICATION, created: "never" },
  { ...NOTIFICATION, payload: null },
  { ...NOTIFICATION, payload: { ...NOTIFICATION.payload, title: ["<b>"] } },
])("no notification: %j", (value) => {
  expect(() => parseNotification(value)).toThrow(UnexpectedAnswerError);
});

test.each([-1, 1.5, "3", null, Number.NaN])("no count: %j", (totalCount) => {
  expect(() => parseNotificationPage({ totalCount, notifications: [] })).toThrow(
    UnexpectedAnswerError,
  );
  expect(() => parseStatus({ unread: totalCount, read: 0 })).toThrow(UnexpectedAnswerError);
});

test("settings keep what they say and no more", () => {
  const matrix = {
    channels: [
      { id: "Web", enabled: false, origins: [{ id: "o", enabled: true, topics: [] }] },
      { id: "Email", origins: [{ id: "o", enabled: true }] },
    ],
  };
  expect(parseSettings(matrix)).toEqual(matrix);
  expect(() => parseSettings({ channels: [{ id: "Web", origins: [{ id: "o" }] }] })).toThrow();
});

describe("signals", () => {
  test("of a new notification, as upstream's and as ours", () => {
    const signal = { action: "new_notification", notification_id: "1" };
    expect(parseSignal(signal)).toEqual({ action: signal.action, id: "1", notification: null });
    expect(parseSignal({ ...signal, notification: NOTIFICATION })).toMatchObject({
      notification: { id: "1" },
    });
  });

  test("of read ones", () => {
    expect(parseSignal({ action: "notification_read", notification_ids: ["1"] })).toEqual({
      action: "notification_read",
      ids: ["1"],
    });
  });

  test("that are not known are nothing, those that are wrong are refused", () => {
    expect(parseSignal({ action: "else" })).toBeNull();
    expect(() => parseSignal({ action: "new_notification" })).toThrow(UnexpectedAnswerError);
  });
});
