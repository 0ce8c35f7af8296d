import { describe, expect, test } from "vitest";
import { pageCount, pagesToOffer } from "../../src/model/paging";
import {
  INITIAL,
  isFiltered,
  listQuery,
  readView,
  topicsQuery,
  viewFor,
  writeView,
  type ViewState,
} from "../../src/model/view";

const NOW = new Date("2026-03-10T12:00:00Z");
const FULL: ViewState = {
  view: "saved",
  age: "week",
  sorting: "topic",
  minSeverity: "high",
  topic: "a&b=c",
  search: "50% <off>",
  page: 2,
  pageSize: 20,
  id: "some-id",
};

describe("in the URL", () => {
  test("what is as initially is not said", () => {
    expect(writeView(INITIAL, new URLSearchParams()).toString()).toBe("");
    expect(readView(new URLSearchParams())).toEqual(INITIAL);
  });

  test("what is written is read back", () => {
    const written = writeView(FULL, new URLSearchParams());
    expect(readView(new URLSearchParams(written.toString()))).toEqual(FULL);
    expect(written.get("page")).toBe("3");
  });

  test("what is not ours stays, what was ours and is no more goes", () => {
    const query = new URLSearchParams("tab=2&view=all&page=7");
    expect(writeView(INITIAL, query).toString()).toBe("tab=2");
  });

  test.each([
    "view=none",
    "sent=yesterday",
    "sort=created",
    "severity=worst",
    "topic=",
    "page=0",
    "page=-1",
    "page=1e9",
    "page=x",
    "size=7",
    "size=05",
    "id=",
  ])("%s is as if it were not there", (query) => {
    expect(readView(new URLSearchParams(query))).toEqual(INITIAL);
  });

  test("a page far beyond what there can be is bounded", () => {
    expect(readView(new URLSearchParams(`page=${"9".repeat(400)}`)).page).toBeLessThan(1e7);
  });
});

describe("asked of the API", () => {
  test("initially: unread ones, the newest first, five of them", () => {
    expect(listQuery(INITIAL, NOW)).toEqual({
      read: false,
      orders: [{ field: "created", direction: "desc" }],
      limit: 5,
      offset: 0,
    });
  });

  test("with everything", () => {
    expect(listQuery(FULL, NOW)).toEqual({
      saved: true,
      search: "50% <off>",
      minimumSeverity: "high",
      createdAfter: new Date("2026-03-03T12:00:00Z"),
      topic: "a&b=c",
      orders: [
        { field: "topic", direction: "asc" },
        { field: "created", direction: "desc" },
      ],
      limit: 20,
      offset: 40,
    });
  });

  test("topics: the same filters, but for the topic itself", () => {
    expect(topicsQuery({ ...INITIAL, view: "all", age: "24h", topic: "x" }, NOW)).toEqual({
      createdAfter: new Date("2026-03-09T12:00:00Z"),
    });
  });
});

test("filters are what holds back, not view, order or page", () => {
  expect(isFiltered({ ...INITIAL, view: "saved", sorting: "topic", page: 3 })).toBe(false);
  for (const change of [{ age: "24h" }, { minSeverity: "high" }, { topic: "x" }, { search: "x" }]) {
    expect(isFiltered({ ...INITIAL, ...change } as ViewState)).toBe(true);
  }
});

test.each([
  ["unread", false, false, "unread"],
  ["unread", true, false, "read"],
  ["read", false, false, "unread"],
  ["saved", true, true, "saved"],
  ["saved", true, false, "read"],
  ["all", true, false, "all"],
] as const)(
  "from %s, one that is read: %s, saved: %s is seen in %s",
  (view, read, saved, expected) => {
    const notification = { read: read ? NOW : null, saved: saved ? NOW : null };
    expect(viewFor(notification, view)).toBe(expected);
  },
);

describe("pages", () => {
  test.each([
    [0, 5, 1],
    [5, 5, 1],
    [6, 5, 2],
  ])("%i by %i are %i", (total, size, count) => {
    expect(pageCount(total, size)).toBe(count);
  });

  test.each([
    [0, 1, [0]],
    [0, 3, [0, 1, 2]],
    [0, 10, [0, 1, null, 9]],
    [5, 11, [0, null, 4, 5, 6, null, 10]],
    [2, 5, [0, 1, 2, 3, 4]],
    [9, 10, [0, null, 8, 9]],
  ])("on %i of %i, offered are %j", (current, count, expected) => {
    expect(pagesToOffer(current, count)).toEqual(expected);
  });
});
