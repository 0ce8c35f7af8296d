import { describe, expect, test, vi } from "vitest";
import { ResponseError } from "../../src/api/errors";
import type { InboxNotification, ListQuery, NotificationPage } from "../../src/api/types";
import { Inbox } from "../../src/model/inbox";
import { INITIAL } from "../../src/model/view";

function notification(id: string, read = false): InboxNotification {
  return {
    id,
    user: null,
    created: new Date(0),
    updated: null,
    read: read ? new Date(1) : null,
    saved: null,
    origin: "o",
    payload: {
      title: id,
      description: null,
      link: null,
      severity: "normal",
      topic: null,
      scope: null,
      icon: null,
    },
  };
}

function client(pages: (query: ListQuery) => NotificationPage | Promise<NotificationPage>) {
  return {
    list: vi.fn(async (query: ListQuery, signal?: AbortSignal) => {
      const page = await pages(query);
      signal?.throwIfAborted();
      return page;
    }),
    get: vi.fn(async (id: string) => notification(id, true)),
    status: vi.fn(async () => ({ unread: 3, read: 4 })),
    topics: vi.fn(async () => ["t"]),
  };
}

const ONE = { totalCount: 1, notifications: [notification("a")] };

test("a load brings the page, the topics and the status", async () => {
  const inbox = new Inbox(
    client(() => ONE),
    vi.fn(),
  );
  expect(await inbox.load(INITIAL)).toBe(INITIAL);
  expect(inbox.rows).toEqual(ONE.notifications);
  expect([inbox.totalCount, inbox.topics, inbox.status?.unread]).toEqual([1, ["t"], 3]);
  expect([inbox.shown, inbox.loading, inbox.error]).toEqual([INITIAL, false, null]);
});

test("the newest load wins, whatever comes late", async () => {
  let release!: (page: NotificationPage) => void;
  const slow = new Promise<NotificationPage>((resolve) => (release = resolve));
  const inbox = new Inbox(
    client((query) => (query.search === "slow" ? slow : ONE)),
    vi.fn(),
  );
  const first = inbox.load({ ...INITIAL, search: "slow" });
  const second = inbox.load(INITIAL);
  await second;
  release({ totalCount: 9, notifications: [] });
  expect(await first).toBeNull();
  expect(inbox.totalCount).toBe(1);
  expect(inbox.shown).toBe(INITIAL);
  expect([inbox.loading, inbox.error]).toEqual([false, null]);
});

test("what was shown stays when a load fails", async () => {
  const fails = client(() => ONE);
  const inbox = new Inbox(fails, vi.fn());
  await inbox.load(INITIAL);
  fails.list.mockRejectedValueOnce(new Error("away"));
  expect(await inbox.load({ ...INITIAL, view: "all" })).toBeNull();
  expect(inbox.rows).toEqual(ONE.notifications);
  expect(inbox.shown).toBe(INITIAL);
  expect(String(inbox.error)).toContain("away");
  await inbox.load(INITIAL);
  expect(inbox.error).toBeNull();
});

test("a page beyond the end becomes the last", async () => {
  const api = client(({ offset }) => ({
    totalCount: 7,
    notifications: offset === 5 ? [notification("f")] : [],
  }));
  const inbox = new Inbox(api, vi.fn());
  expect(await inbox.load({ ...INITIAL, page: 9 })).toEqual({ ...INITIAL, page: 1 });
  expect(inbox.shown).toEqual({ ...INITIAL, page: 1 });
  expect(inbox.rows.map(({ id }) => id)).toEqual(["f"]);
});

describe("a link", () => {
  test("chooses the view once, and its notification comes first", async () => {
    const inbox = new Inbox(
      client(() => ONE),
      vi.fn(),
    );
    const shown = await inbox.load({ ...INITIAL, id: "linked" });
    expect(shown?.view).toBe("read");
    expect(inbox.rows.map(({ id }) => id)).toEqual(["linked", "a"]);
    expect((await inbox.load({ ...shown!, view: "unread" }))?.view).toBe("unread");
  });

  test("to one on the page does not show it twice", async () => {
    const inbox = new Inbox(
      client(() => ONE),
      vi.fn(),
    );
    await inbox.load({ ...INITIAL, id: "a" });
    expect(inbox.rows.map(({ id }) => id)).toEqual(["a"]);
  });

  test("to nothing shows the rest", async () => {
    const api = client(() => ONE);
    api.get.mockRejectedValue(new ResponseError("NotFoundError", "no", 404));
    const inbox = new Inbox(api, vi.fn());
    await inbox.load({ ...INITIAL, id: "gone" });
    expect(inbox.linked).toEqual({ id: "gone", notification: null });
    expect(inbox.rows).toHaveLength(1);
    expect(inbox.error).toBeNull();
  });

  test("that cannot be followed for another reason is an error", async () => {
    const api = client(() => ONE);
    api.get.mockRejectedValue(new ResponseError("Error", "no", 500));
    const inbox = new Inbox(api, vi.fn());
    expect(await inbox.load({ ...INITIAL, id: "x" })).toBeNull();
    expect(inbox.error).toBeInstanceOf(ResponseError);
  });
});
