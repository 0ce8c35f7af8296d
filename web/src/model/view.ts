/** What of the notifications is shown, as the page keeps it, its URL says it and the API is asked. */

import {
  SEVERITIES,
  type CommonQuery,
  type ListQuery,
  type Order,
  type Severity,
} from "../api/types";

export const VIEWS = ["unread", "read", "saved", "all"] as const;
export type View = (typeof VIEWS)[number];

/** When it was sent. */
export const AGES = ["24h", "week", "any"] as const;
export type Age = (typeof AGES)[number];

export const SORTINGS = ["newest", "oldest", "topic", "origin"] as const;
export type Sorting = (typeof SORTINGS)[number];

export const PAGE_SIZES = [5, 10, 20, 50, 100] as const;

export interface ViewState {
  view: View;
  age: Age;
  sorting: Sorting;
  minSeverity: Severity;
  topic: string | null;
  search: string;
  /** From 0. */
  page: number;
  pageSize: number;
  /** The notification that a link leads to. */
  id: string | null;
}

export const INITIAL: Readonly<ViewState> = {
  view: "unread",
  age: "any",
  sorting: "newest",
  minSeverity: "low",
  topic: null,
  search: "",
  page: 0,
  pageSize: 5,
  id: null,
};

const SEARCH_LENGTH = 255;
const LAST_PAGE = 1_000_000;

/** Return what a URL's query says; what it does not say, or says wrong, is as initially. */
export function readView(query: URLSearchParams): ViewState {
  return {
    view: oneOf(VIEWS, query.get("view")) ?? INITIAL.view,
    age: oneOf(AGES, query.get("sent")) ?? INITIAL.age,
    sorting: oneOf(SORTINGS, query.get("sort")) ?? INITIAL.sorting,
    minSeverity: oneOf(SEVERITIES, query.get("severity")) ?? INITIAL.minSeverity,
    topic: query.get("topic") || null,
    search: (query.get("search") ?? "").slice(0, SEARCH_LENGTH),
    page: readPage(query.get("page")),
    pageSize: PAGE_SIZES.find((size) => String(size) === query.get("size")) ?? INITIAL.pageSize,
    id: query.get("id") || null,
  };
}

/** Write it into a URL's query, and leave alone what in there is not ours. */
export function writeView(state: ViewState, query: URLSearchParams): URLSearchParams {
  const written = new URLSearchParams(query);
  const parameters: [string, string | number | null, string | number | null][] = [
    ["view", state.view, INITIAL.view],
    ["sent", state.age, INITIAL.age],
    ["sort", state.sorting, INITIAL.sorting],
    ["severity", state.minSeverity, INITIAL.minSeverity],
    ["topic", state.topic, INITIAL.topic],
    ["search", state.search, INITIAL.search],
    ["page", state.page + 1, INITIAL.page + 1],
    ["size", state.pageSize, INITIAL.pageSize],
    ["id", state.id, INITIAL.id],
  ];
  for (const [name, value, initial] of parameters) {
    if (value === initial || value === null) {
      written.delete(name);
    } else {
      written.set(name, String(value));
    }
  }
  return written;
}

/** Return what to ask `GET /topics`: the same filters, but for the topic. */
export function topicsQuery(state: ViewState, now: Date): CommonQuery {
  const since = createdAfter(state.age, now);
  return {
    ...VIEW_FILTERS[state.view],
    ...(state.search !== "" && { search: state.search }),
    ...(state.minSeverity !== "low" && { minimumSeverity: state.minSeverity }),
    ...(since && { createdAfter: since }),
  };
}

/** Return what to ask `GET /notifications`. */
export function listQuery(state: ViewState, now: Date): ListQuery {
  return {
    ...topicsQuery(state, now),
    ...(state.topic !== null && { topic: state.topic }),
    orders: ORDERS[state.sorting],
    limit: state.pageSize,
    offset: state.page * state.pageSize,
  };
}

/** Tell whether anything but the view itself holds notifications back. */
export function isFiltered(state: ViewState): boolean {
  return (
    state.age !== INITIAL.age ||
    state.minSeverity !== INITIAL.minSeverity ||
    state.topic !== null ||
    state.search !== ""
  );
}

/** Return the view for a notification that a link leads to: one that shows it. */
export function viewFor(notification: { read: Date | null; saved: Date | null }, view: View): View {
  switch (view) {
    case "all":
      return view;
    case "saved":
      if (notification.saved !== null) {
        return view;
      }
  }
  return notification.read === null ? "unread" : "read";
}

const VIEW_FILTERS: Record<View, CommonQuery> = {
  unread: { read: false },
  read: { read: true },
  saved: { saved: true },
  all: {},
};

// Within one topic or origin the newest come first, and pages do not overlap.
const ORDERS: Record<Sorting, Order[]> = {
  newest: [{ field: "created", direction: "desc" }],
  oldest: [{ field: "created", direction: "asc" }],
  topic: [
    { field: "topic", direction: "asc" },
    { field: "created", direction: "desc" },
  ],
  origin: [
    { field: "origin", direction: "asc" },
    { field: "created", direction: "desc" },
  ],
};

const DAY = 24 * 60 * 60 * 1000;

function createdAfter(age: Age, now: Date): Date | null {
  switch (age) {
    case "24h":
      return new Date(now.getTime() - DAY);
    case "week":
      return new Date(now.getTime() - 7 * DAY);
    case "any":
      return null;
  }
}

function readPage(value: string | null): number {
  const page = /^\d+$/.test(value ?? "") ? Number(value) : 1;
  return Math.min(Math.max(page, 1), LAST_PAGE) - 1;
}

function oneOf<T extends string>(values: readonly T[], value: string | null): T | undefined {
  return values.find((candidate) => candidate === value);
}
