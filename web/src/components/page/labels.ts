/** What the page calls things. */

import type { Severity } from "../../api/types";
import type { Age, Sorting, View } from "../../model/view";

export const VIEW_LABELS: Record<View, string> = {
  unread: "Unread",
  read: "Read",
  saved: "Saved",
  all: "All",
};

/** Said in place of rows. */
export const EMPTY: Record<View, string> = {
  unread: "Nothing unread.",
  read: "Nothing was read yet.",
  saved: "Nothing is saved.",
  all: "There are no notifications.",
};

export const AGE_LABELS: Record<Age, string> = {
  "24h": "Last 24 hours",
  week: "Last week",
  any: "Any time",
};

export const SORTING_LABELS: Record<Sorting, string> = {
  newest: "Newest on top",
  oldest: "Oldest on top",
  topic: "Topic",
  origin: "Origin",
};

export const SEVERITY_LABELS: Record<Severity, string> = {
  critical: "Critical",
  high: "High",
  normal: "Normal",
  low: "Low",
};

/** Return a number of notifications in words: `1 notification`. */
export function notifications(count: number): string {
  return `${count} ${count === 1 ? "notification" : "notifications"}`;
}

export function readDone(read: boolean): string {
  return read ? "marked as read" : "marked as unread";
}

export function savedDone(saved: boolean): string {
  return saved ? "saved" : "removed from saved";
}
