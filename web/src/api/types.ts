/** What the REST API and the signals speak of; upstream's names and shapes. */

/** From the most severe to the least, as upstream orders them. */
export const SEVERITIES = ["critical", "high", "normal", "low"] as const;

export type Severity = (typeof SEVERITIES)[number];

export interface Payload {
  title: string;
  description: string | null;
  link: string | null;
  severity: Severity;
  topic: string | null;
  scope: string | null;
  icon: string | null;
}

/** A notification as a user sees it; called so because `Notification` is the browser's. */
export interface InboxNotification {
  id: string;
  /** `null` for a broadcast. */
  user: string | null;
  created: Date;
  updated: Date | null;
  read: Date | null;
  saved: Date | null;
  origin: string;
  payload: Payload;
}

export interface NotificationPage {
  totalCount: number;
  notifications: InboxNotification[];
}

export interface Status {
  unread: number;
  read: number;
}

export interface TopicSetting {
  id: string;
  enabled: boolean;
}

export interface OriginSetting {
  id: string;
  enabled: boolean;
  topics?: TopicSetting[];
}

export interface ChannelSetting {
  id: string;
  enabled?: boolean;
  origins: OriginSetting[];
}

export interface SettingsMatrix {
  channels: ChannelSetting[];
}

/** Filters that the list and the topics have in common. */
export interface CommonQuery {
  search?: string;
  read?: boolean;
  saved?: boolean;
  createdAfter?: Date;
  minimumSeverity?: Severity;
}

export type SortField = "created" | "topic" | "origin";

export interface Order {
  field: SortField;
  direction: "asc" | "desc";
}

export interface ListQuery extends CommonQuery {
  limit: number;
  offset: number;
  orders: Order[];
  topic?: string;
}

export interface Update {
  ids: string[];
  read?: boolean;
  saved?: boolean;
}

/** What comes on the channel `notifications`. */
export type NotificationSignal =
  | {
      action: "new_notification";
      id: string;
      /** Ours sends it along, upstream does not. */
      notification: InboxNotification | null;
    }
  | { action: "notification_read" | "notification_unread"; ids: string[] };

/** Gives the token of whoever uses the portal; nothing: the session's cookie is meant. */
export type GetToken = () => Promise<string | undefined> | string | undefined;
