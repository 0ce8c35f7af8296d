/** Answers of the server, checked: what is shown is what the types say. */

import { UnexpectedAnswerError } from "./errors";
import {
  SEVERITIES,
  type ChannelSetting,
  type InboxNotification,
  type NotificationPage,
  type NotificationSignal,
  type OriginSetting,
  type SettingsMatrix,
  type Severity,
  type Status,
  type TopicSetting,
} from "./types";

type Fields = Record<string, unknown>;

export function parseNotificationPage(value: unknown): NotificationPage {
  const { totalCount, notifications } = fields(value, "the list");
  return {
    totalCount: count(totalCount, "totalCount"),
    notifications: parseNotifications(notifications),
  };
}

export function parseNotifications(value: unknown): InboxNotification[] {
  return list(value, "notifications").map(parseNotification);
}

export function parseNotification(value: unknown): InboxNotification {
  const notification = fields(value, "a notification");
  const payload = fields(notification["payload"], "payload");
  return {
    id: text(notification["id"], "id"),
    user: optionalText(notification["user"]),
    created: date(notification["created"], "created"),
    updated: optionalDate(notification["updated"]),
    read: optionalDate(notification["read"]),
    saved: optionalDate(notification["saved"]),
    origin: text(notification["origin"], "origin"),
    payload: {
      title: text(payload["title"], "payload.title"),
      description: optionalText(payload["description"]),
      link: optionalText(payload["link"]),
      severity: severity(payload["severity"]),
      topic: optionalText(payload["topic"]),
      scope: optionalText(payload["scope"]),
      icon: optionalText(payload["icon"]),
    },
  };
}

export function parseStatus(value: unknown): Status {
  const { unread, read } = fields(value, "the status");
  return { unread: count(unread, "unread"), read: count(read, "read") };
}

export function parseTopics(value: unknown): string[] {
  return texts(fields(value, "the topics")["topics"], "topics");
}

export function parseSettings(value: unknown): SettingsMatrix {
  const { channels } = fields(value, "the settings");
  return { channels: list(channels, "channels").map(parseChannel) };
}

/** Return the signal, or `null` for one that is not about notifications or is unknown to us. */
export function parseSignal(value: unknown): NotificationSignal | null {
  const { action, ...rest } = fields(value, "a signal");
  switch (action) {
    case "new_notification":
      return {
        action,
        id: text(rest["notification_id"], "notification_id"),
        notification: rest["notification"] ? parseNotification(rest["notification"]) : null,
      };
    case "notification_read":
    case "notification_unread":
      return { action, ids: texts(rest["notification_ids"], "notification_ids") };
    default:
      return null;
  }
}

function parseChannel(value: unknown): ChannelSetting {
  const channel = fields(value, "a channel");
  return {
    id: text(channel["id"], "channel.id"),
    ...(typeof channel["enabled"] === "boolean" && { enabled: channel["enabled"] }),
    origins: list(channel["origins"], "channel.origins").map(parseOrigin),
  };
}

function parseOrigin(value: unknown): OriginSetting {
  const origin = fields(value, "an origin");
  return {
    ...parseTopic(origin),
    ...(origin["topics"] != null && {
      topics: list(origin["topics"], "origin.topics").map(parseTopic),
    }),
  };
}

function parseTopic(value: unknown): TopicSetting {
  const { id, enabled } = fields(value, "a topic");
  if (typeof enabled !== "boolean") {
    throw unexpected("enabled");
  }
  return { id: text(id, "id"), enabled };
}

function severity(value: unknown): Severity {
  const known = SEVERITIES.find((name) => name === value);
  return known ?? "normal"; // As upstream takes what it does not know.
}

function fields(value: unknown, what: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw unexpected(what);
  }
  return value as Fields;
}

function list(value: unknown, what: string): unknown[] {
  if (!Array.isArray(value)) {
    throw unexpected(what);
  }
  return value;
}

function texts(value: unknown, what: string): string[] {
  return list(value, what).map((item) => text(item, what));
}

function text(value: unknown, what: string): string {
  if (typeof value !== "string") {
    throw unexpected(what);
  }
  return value;
}

function optionalText(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}

function count(value: unknown, what: string): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
    throw unexpected(what);
  }
  return value;
}

function date(value: unknown, what: string): Date {
  const parsed = optionalDate(value);
  if (parsed === null) {
    throw unexpected(what);
  }
  return parsed;
}

function optionalDate(value: unknown): Date | null {
  const parsed = typeof value === "string" ? new Date(value) : null;
  return parsed !== null && !Number.isNaN(parsed.getTime()) ? parsed : null;
}

function unexpected(what: string): UnexpectedAnswerError {
  return new UnexpectedAnswerError(`The server's answer is not as expected (${what})`);
}
