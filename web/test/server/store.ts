/** The inbox of the mock server: what the gateway would keep in its database. */

import { randomUUID } from "node:crypto";
import { SEVERITIES, type SettingsMatrix, type Severity } from "../../src/api/types";

export interface StoredPayload {
  title: string;
  description?: string | null;
  link?: string | null;
  severity?: Severity;
  topic?: string | null;
  scope?: string | null;
  icon?: string | null;
}

export interface Stored {
  id: string;
  /** `null` for a broadcast. */
  user: string | null;
  created: Date;
  updated: Date | null;
  origin: string;
  payload: StoredPayload;
  /** By user: broadcasts are read by each for himself. */
  read: Map<string, Date>;
  saved: Map<string, Date>;
}

export interface Filters {
  search?: string;
  read?: boolean;
  saved?: boolean;
  topic?: string;
  createdAfter?: Date;
  minimumSeverity?: Severity;
}

export type OrderField = "created" | "topic" | "origin";

export type New = Partial<Omit<Stored, "payload" | "read" | "saved">> & {
  payload: StoredPayload;
  read?: boolean;
  saved?: boolean;
};

export class Store {
  readonly #notifications: Stored[] = [];
  readonly settings = new Map<string, SettingsMatrix>();

  add(user: string | null, notification: New, reader: string): Stored {
    const stored: Stored = {
      id: randomUUID(),
      user,
      created: new Date(),
      updated: null,
      origin: "plugin:test",
      ...notification,
      read: new Map(notification.read ? [[reader, new Date()]] : []),
      saved: new Map(notification.saved ? [[reader, new Date()]] : []),
    };
    this.#notifications.push(stored);
    return stored;
  }

  of(user: string): Stored[] {
    return this.#notifications.filter((stored) => stored.user === null || stored.user === user);
  }

  get(user: string, id: string): Stored | undefined {
    return this.of(user).find((stored) => stored.id === id);
  }

  find(user: string, filters: Filters): Stored[] {
    return this.of(user).filter((stored) => matches(stored, user, filters));
  }

  list(user: string, filters: Filters, orders: [OrderField, "asc" | "desc"][]): Stored[] {
    return this.find(user, filters).sort((a, b) => {
      for (const [field, direction] of orders) {
        const order = compare(key(a, field), key(b, field));
        if (order !== 0) {
          return direction === "asc" ? order : -order;
        }
      }
      return compare(a.id, b.id);
    });
  }

  update(user: string, ids: string[], change: { read?: boolean; saved?: boolean }): Stored[] {
    const changed = this.of(user).filter(({ id }) => ids.includes(id));
    for (const stored of changed) {
      mark(stored.read, user, change.read);
      mark(stored.saved, user, change.saved);
    }
    return changed;
  }

  static json(stored: Stored, user: string): unknown {
    const { description, link, severity, topic, scope, icon } = stored.payload;
    return {
      id: stored.id,
      user: stored.user,
      created: stored.created.toISOString(),
      updated: stored.updated?.toISOString() ?? null,
      read: stored.read.get(user)?.toISOString() ?? null,
      saved: stored.saved.get(user)?.toISOString() ?? null,
      origin: stored.origin,
      payload: {
        title: stored.payload.title,
        description: description ?? null,
        link: link ?? null,
        severity: severity ?? "normal",
        topic: topic ?? null,
        scope: scope ?? null,
        icon: icon ?? null,
        metadata: null,
      },
    };
  }
}

function matches(stored: Stored, user: string, filters: Filters): boolean {
  const { search, read, saved, topic, createdAfter, minimumSeverity } = filters;
  const { title, description, severity } = stored.payload;
  const text = `${title}\n${description ?? ""}`.toLowerCase();
  return (
    (search === undefined || text.includes(search.toLowerCase())) &&
    (read === undefined || stored.read.has(user) === read) &&
    (saved === undefined || stored.saved.has(user) === saved) &&
    (topic === undefined || stored.payload.topic === topic) &&
    (createdAfter === undefined || stored.created >= createdAfter) &&
    (minimumSeverity === undefined ||
      SEVERITIES.indexOf(severity ?? "normal") <= SEVERITIES.indexOf(minimumSeverity))
  );
}

function mark(marks: Map<string, Date>, user: string, set: boolean | undefined): void {
  if (set === true) {
    marks.set(user, new Date());
  } else if (set === false) {
    marks.delete(user);
  }
}

function key(stored: Stored, field: OrderField): string | number {
  switch (field) {
    case "created":
      return stored.created.getTime();
    case "topic":
      return stored.payload.topic ?? "";
    case "origin":
      return stored.origin;
  }
}

function compare<T extends string | number>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
