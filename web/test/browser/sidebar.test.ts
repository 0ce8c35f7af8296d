import type { Page } from "playwright-core";
import { describe, expect, test } from "vitest";
import { ADA, connected, numbered, post, stopClock, titled, useWorld } from "./support";

const world = useWorld();

const snackbar = (page: Page) => page.getByRole("region", { name: "New notifications" });
const badge = (page: Page) => page.locator("notifications-sidebar-item .badge");

describe("the badge and the title", () => {
  test("say how many are unread, live", async () => {
    post(world, titled("a", "b"));
    const page = await world.open();
    await page.getByRole("link", { name: "Notifications 2 unread" }).waitFor();
    await expect.poll(() => page.title()).toBe("(2) Notifications");
    await connected(world);
    world.server.post(null, { payload: { title: "c" } });
    await page.getByRole("link", { name: "Notifications 3 unread" }).waitFor();
    await expect.poll(() => page.title()).toBe("(3) Notifications");
  });

  test("go when everything is read", async () => {
    post(world, titled("a"));
    const page = await world.open();
    await badge(page).waitFor();
    await page.getByRole("button", { name: "Mark as read: a" }).click();
    await expect.poll(() => badge(page).count()).toBe(0);
    await expect.poll(() => page.title()).toBe("Notifications");
  });

  test("a hundred are 99+", async () => {
    post(world, numbered(100));
    const page = await world.open();
    await expect.poll(() => badge(page).innerText()).toContain("99+");
    await expect.poll(() => page.title()).toBe("(100) Notifications");
  });

  test("the title keeps its number when the page changes it", async () => {
    post(world, titled("a"));
    const page = await world.open();
    await expect.poll(() => page.title()).toBe("(1) Notifications");
    await page.evaluate(() => (document.title = "Elsewhere"));
    await expect.poll(() => page.title()).toBe("(1) Elsewhere");
  });

  test("the title is left alone if that is wanted", async () => {
    world.server.config = { titleCounterEnabled: false, title: "Inbox" };
    post(world, titled("a"));
    const page = await world.open();
    await badge(page).waitFor();
    expect(await page.title()).toBe("Inbox");
  });
});

describe("the snackbar", () => {
  test("shows what is new; marks it as read; opens its link", async () => {
    const page = await world.open();
    await connected(world);
    const stored = world.server.post(ADA, {
      payload: { title: `Very ${"long ".repeat(20)}`, link: "https://foo.example/x" },
    });
    const snack = snackbar(page);
    const title = snack.locator(".title bdi").first();
    await title.waitFor();
    expect((await title.innerText()).length).toBeLessThanOrEqual(50);
    const link = snack.getByRole("link");
    expect(await link.getAttribute("href")).toBe("https://foo.example/x");
    expect(await link.getAttribute("rel")).toBe("noopener noreferrer");
    await snack.getByText("foo.example").waitFor();
    await snack.getByRole("button", { name: /^Mark as read/ }).click();
    await expect.poll(() => stored.read.has(ADA)).toBe(true);
    await expect.poll(() => snack.isVisible()).toBe(false);
    await page.getByText("Nothing unread.").waitFor();
  });

  test("asks for the notification if the signal does not carry it", async () => {
    const page = await world.open();
    await connected(world);
    const stored = world.server.store.add(ADA, { payload: { title: "asked for" } }, ADA);
    world.server.signals.publish(ADA, {
      action: "new_notification",
      notification_id: stored.id,
    });
    await snackbar(page).getByText("asked for").waitFor();
  });

  test("shows three at most, each for a while", async () => {
    world.server.config = { snackbarAutoHideDuration: 1500 };
    const page = await world.open();
    await connected(world);
    await stopClock(page);
    for (const { payload } of numbered(6, "New")) {
      world.server.post(ADA, { payload });
    }
    const snacks = snackbar(page).locator(".snack");
    await snackbar(page).getByText("New 6").waitFor();
    expect(await snacks.count()).toBe(3);
    await page.clock.runFor(1400);
    expect(await snacks.count()).toBe(3);
    await page.clock.runFor(100);
    await expect.poll(() => snacks.count()).toBe(0);
  });

  test("stays while the pointer is on it, and goes when it is closed", async () => {
    world.server.config = { snackbarAutoHideDuration: 1000 };
    const page = await world.open();
    await connected(world);
    await stopClock(page);
    world.server.post(ADA, { payload: { title: "stay" } });
    const snack = snackbar(page).locator(".snack");
    await snack.hover();
    await page.clock.runFor(2000);
    expect(await snack.count()).toBe(1);
    await snack.getByRole("button", { name: /^Close/ }).click();
    await expect.poll(() => snack.count()).toBe(0);
  });

  test("goes when it is read elsewhere, and all go when all are read", async () => {
    const page = await world.open();
    await connected(world);
    const first = world.server.post(ADA, { payload: { title: "first" } });
    world.server.post(ADA, { payload: { title: "second" } });
    const snacks = snackbar(page).locator(".snack");
    await expect.poll(() => snacks.count()).toBe(2);
    world.server.store.update(ADA, [first.id], { read: true });
    world.server.signals.publish(ADA, {
      action: "notification_read",
      notification_ids: [first.id],
    });
    await expect.poll(() => snacks.count()).toBe(1);
    await page.getByRole("button", { name: "Mark all read" }).first().click();
    await page.getByRole("dialog").getByRole("button", { name: "Mark all read" }).click();
    await expect.poll(() => snacks.count()).toBe(0);
  });

  test("is not there if it is not wanted", async () => {
    world.server.config = { snackbarEnabled: false };
    const page = await world.open();
    await connected(world);
    world.server.post(ADA, { payload: { title: "quiet" } });
    await badge(page).waitFor();
    expect(await snackbar(page).isVisible()).toBe(false);
  });
});

describe("web notifications", () => {
  /** The browser's own, recorded: a headless one shows none. */
  async function record(page: Page, permission: NotificationPermission): Promise<void> {
    await page.addInitScript((granted) => {
      const shown: unknown[] = [];
      class Recorded extends EventTarget {
        static permission = granted;
        static requestPermission(): Promise<NotificationPermission> {
          shown.push("asked");
          Recorded.permission = "granted";
          return Promise.resolve("granted");
        }
        constructor(title: string, options: NotificationOptions) {
          super();
          shown.push({ title, ...options });
          Object.assign(window, { clickLast: () => this.dispatchEvent(new Event("click")) });
        }
        close(): void {
          this.dispatchEvent(new Event("close"));
        }
      }
      Object.assign(window, { Notification: Recorded, shown });
      window.open = (url) => {
        shown.push(`opened ${String(url)}`);
        return null;
      };
    }, permission);
  }

  const shown = (page: Page): Promise<unknown> =>
    page.evaluate(() => (window as unknown as { shown: unknown }).shown);

  test("are asked for by a click, carry id, title and text, and lead to the link", async () => {
    world.server.config = { webNotificationsEnabled: true };
    const page = await world.open("/", { prepare: (opened) => record(opened, "default") });
    await connected(world);
    world.server.post(ADA, { payload: { title: "too early" } });
    await snackbar(page).getByText("too early").waitFor();
    expect(await shown(page)).toEqual([]);
    await page.getByRole("link", { name: /^Notifications/ }).click();
    await expect.poll(() => shown(page)).toEqual(["asked"]);
    const stored = world.server.post(ADA, {
      payload: { title: "Title", description: "Text", link: "https://foo.example/" },
    });
    await expect
      .poll(() => shown(page))
      .toEqual(["asked", { tag: stored.id, title: "Title", body: "Text" }]);
    await page.evaluate(() => (window as unknown as { clickLast(): void }).clickLast());
    await expect.poll(() => stored.read.has(ADA)).toBe(true);
    expect(await shown(page)).toContain("opened https://foo.example/");
  });

  test("are not shown unless they are wanted", async () => {
    const page = await world.open("/", { prepare: (opened) => record(opened, "granted") });
    await connected(world);
    world.server.post(ADA, { payload: { title: "quiet" } });
    await snackbar(page).getByText("quiet").waitFor();
    await page.getByRole("link", { name: /^Notifications/ }).click();
    expect(await shown(page)).toEqual([]);
  });
});
