import { describe, expect, test } from "vitest";
import {
  ADA,
  connected,
  expectHeading,
  expectQuery,
  expectTitles,
  numbered,
  post,
  rowOf,
  rows,
  stopClock,
  titled,
  useWorld,
} from "./support";

const world = useWorld();

describe("views", () => {
  test("unread ones come first; the others are one click away", async () => {
    post(world, [
      { payload: { title: "unread" } },
      { payload: { title: "read" }, read: true },
      { payload: { title: "saved" }, read: true, saved: true },
    ]);
    const page = await world.open();
    await expectHeading(page, "Unread notifications (1)");
    await expectTitles(page, ["unread"]);
    await page.getByRole("button", { name: "Read", exact: true }).click();
    await expectHeading(page, "Read notifications (2)");
    await expectTitles(page, ["saved", "read"]);
    await page.getByRole("button", { name: "Saved", exact: true }).click();
    await expectTitles(page, ["saved"]);
    await page.getByRole("button", { name: "All", exact: true }).click();
    await expectHeading(page, "All notifications (3)");
    expect(
      await page.getByRole("button", { name: "All", exact: true }).getAttribute("aria-pressed"),
    ).toBe("true");
  });

  test("an empty one says so", async () => {
    const page = await world.open();
    await page.getByText("Nothing unread.").waitFor();
    await page.getByRole("button", { name: "Saved", exact: true }).click();
    await page.getByText("Nothing is saved.").waitFor();
  });
});

describe("filters", () => {
  test("by age", async () => {
    const day = 24 * 3_600_000;
    const ago = (time: number): Date => new Date(Date.now() - time);
    post(world, [
      { payload: { title: "ancient" }, created: ago(30 * day) },
      { payload: { title: "old" }, created: ago(3 * day) },
      { payload: { title: "new" }, created: ago(day / 2) },
    ]);
    const page = await world.open();
    await expectTitles(page, ["new", "old", "ancient"]);
    await page.getByLabel("Sent out").selectOption("Last 24 hours");
    await expectTitles(page, ["new"]);
    await page.getByLabel("Sent out").selectOption("Last week");
    await expectTitles(page, ["new", "old"]);
    await page.getByLabel("Sent out").selectOption("Any time");
    await expectTitles(page, ["new", "old", "ancient"]);
  });

  test("by severity and topic; they can be cleared", async () => {
    post(world, [
      { payload: { title: "a", severity: "critical", topic: "deploys" } },
      { payload: { title: "b", severity: "high", topic: "builds" } },
      { payload: { title: "c", severity: "low", topic: "builds" } },
    ]);
    const page = await world.open();
    await page.getByLabel("Min severity").selectOption("High");
    await expectTitles(page, ["b", "a"]);
    await page.getByLabel("Topic", { exact: true }).selectOption("deploys");
    await expectTitles(page, ["a"]);
    await page.getByLabel("Min severity").selectOption("Low");
    await page.getByLabel("Topic", { exact: true }).selectOption("builds");
    await expectTitles(page, ["c", "b"]);
    await page.getByLabel("Min severity").selectOption("Critical");
    await page.getByText("No notification matches these filters.").waitFor();
    await page.getByRole("button", { name: "Clear filters" }).click();
    await expectTitles(page, ["c", "b", "a"]);
    expect(await page.getByLabel("Topic", { exact: true }).inputValue()).toBe("Any topic");
  });

  test("sorted as one likes", async () => {
    post(world, [
      { payload: { title: "1", topic: "b" }, origin: "y" },
      { payload: { title: "2", topic: "a" }, origin: "z" },
      { payload: { title: "3", topic: "b" }, origin: "x" },
    ]);
    const page = await world.open();
    for (const [sorting, titles] of [
      ["Oldest on top", ["1", "2", "3"]],
      ["Topic", ["2", "3", "1"]],
      ["Origin", ["3", "1", "2"]],
      ["Newest on top", ["3", "2", "1"]],
    ] as const) {
      await page.getByLabel("Sort by").selectOption(sorting);
      await expectTitles(page, titles);
    }
  });

  test("the search is the server's, and not asked for each letter", async () => {
    post(world, [
      ...titled("Deploy failed", "Something else"),
      { payload: { title: "By its description", description: "the DEPLOYMENT is done" } },
    ]);
    const page = await world.open();
    const lists = () => world.server.requestsTo("GET", "/notifications");
    await expect.poll(() => lists().length).toBe(2); // The second after the connection.
    await expectHeading(page, "Unread notifications (3)");
    await stopClock(page);
    await page.getByLabel("Search").pressSequentially("deploy");
    await page.clock.runFor(500);
    await expectTitles(page, ["By its description", "Deploy failed"]);
    const searches = lists().map(({ query }) => query.get("search"));
    expect(searches).toEqual([null, null, "deploy"]);
    expect(world.server.requestsTo("GET", "/topics").at(-1)!.query.get("search")).toBe("deploy");
  });

  test("Enter searches at once, percent signs are percent signs", async () => {
    post(world, titled("50% off", "500 of"));
    const page = await world.open();
    await page.getByLabel("Search").fill("50%");
    await page.getByLabel("Search").press("Enter");
    await expectTitles(page, ["50% off"]);
  });
});

describe("pages", () => {
  test("five at first; more by the selector", async () => {
    post(world, numbered(12));
    const page = await world.open();
    await expectHeading(page, "Unread notifications (12)");
    await expect.poll(() => rows(page).count()).toBe(5);
    await page.getByText("1–5 of 12").waitFor();
    await page.getByRole("button", { name: "Page 3" }).click();
    await expectTitles(page, ["Notification 2", "Notification 1"]);
    await page.getByText("11–12 of 12").waitFor();
    await page.getByRole("button", { name: "Previous page" }).click();
    await page.getByText("6–10 of 12").waitFor();
    await page.getByLabel("Rows per page").selectOption("20");
    await expect.poll(() => rows(page).count()).toBe(12);
  });

  test("one that is no more becomes the last one", async () => {
    post(world, numbered(6));
    const page = await world.open("/?page=2");
    await expectTitles(page, ["Notification 1"]);
    await rowOf(page, "Notification 1")
      .getByRole("button", { name: /^Mark as read/ })
      .click();
    await expectHeading(page, "Unread notifications (5)");
    await expect.poll(() => rows(page).count()).toBe(5);
    await expectQuery(page, {});
  });
});

describe("a row", () => {
  test("says what there is to say", async () => {
    post(world, [
      {
        payload: {
          title: "Disk full",
          description: "Only 3 % left",
          severity: "critical",
          topic: "disks",
        },
        origin: "plugin:monitor",
        broadcast: true,
      },
    ]);
    const page = await world.open();
    const row = rowOf(page, "Disk full");
    await row.waitFor();
    const text = await row.innerText();
    for (const part of [
      "Severity: Critical",
      "Unread:",
      "Only 3 % left",
      "To everybody",
      "plugin:monitor",
      "disks",
      "1 hour ago",
    ]) {
      expect(text).toContain(part);
    }
    const time = row.locator("time");
    expect(await time.getAttribute("title")).toMatch(/\d{4}.*UTC$/);
    expect(Date.parse((await time.getAttribute("datetime"))!)).toBeGreaterThan(0);
  });

  test("a custom icon takes the severity's place, an unknown one does not", async () => {
    post(world, [
      { payload: { title: "plain" } },
      { payload: { title: "unknown", icon: "constructor" } },
      { payload: { title: "custom", icon: "docs" } },
    ]);
    const page = await world.open();
    const pathOf = (title: string): Promise<string | null> =>
      rowOf(page, title).locator(".severity path").getAttribute("d");
    expect(await pathOf("unknown")).toBe(await pathOf("plain"));
    expect(await pathOf("custom")).not.toBe(await pathOf("plain"));
  });

  test("a long description is folded", async () => {
    const description = `${"word ".repeat(40)}end`;
    post(world, [
      { payload: { title: "long", description } },
      { payload: { title: "short", description: "x".repeat(100) } },
    ]);
    const page = await world.open();
    const row = rowOf(page, "long");
    const paragraph = row.locator("p[id^=description]");
    expect((await paragraph.innerText()).length).toBeLessThanOrEqual(100);
    const more = row.getByRole("button", { name: "Show more" });
    expect(await more.getAttribute("aria-expanded")).toBe("false");
    await more.click();
    await expect.poll(() => paragraph.innerText()).toContain("end");
    await row.getByRole("button", { name: "Show less" }).click();
    await expect.poll(() => paragraph.innerText()).not.toContain("end");
    expect(await rowOf(page, "short").getByRole("button", { name: "Show more" }).count()).toBe(0);
  });

  test("links lead into the portal, or say where else", async () => {
    world.server.config = { appBaseUrl: "https://portal.example/base" };
    post(world, [
      { payload: { title: "inside", link: "/catalog/x" } },
      { payload: { title: "outside", link: "http://foo.com/bar" } },
    ]);
    const page = await world.open();
    const inside = page.getByRole("link", { name: "inside" });
    expect(await inside.getAttribute("href")).toBe("https://portal.example/base/catalog/x");
    expect(await inside.getAttribute("target")).toBeNull();
    const outside = page.getByRole("link", { name: "outside" });
    expect(await outside.getAttribute("href")).toBe("http://foo.com/bar");
    expect(await outside.getAttribute("rel")).toBe("noopener noreferrer");
    expect(await outside.getAttribute("target")).toBe("_blank");
    expect(await rowOf(page, "outside").innerText()).toContain("foo.com");
    expect(await rowOf(page, "inside").innerText()).not.toContain("portal.example");
  });

  test("a link that is followed marks as read, if that is wanted", async () => {
    world.server.config = { markAsReadOnLinkOpen: true };
    const [stored] = post(world, [{ payload: { title: "here", link: "/page.json" } }]);
    const page = await world.open();
    await page.getByRole("link", { name: "here" }).click();
    await expect.poll(() => stored!.read.has(ADA)).toBe(true);
  });

  test("a link that is followed marks nothing otherwise", async () => {
    post(world, [{ payload: { title: "here", link: "/favicon.svg" } }]);
    const page = await world.open();
    await page.getByRole("link", { name: "here" }).click();
    await page.waitForURL(/favicon/);
    expect(world.server.requestsTo("POST", "/notifications/update")).toEqual([]);
  });
});

describe("actions", () => {
  test("on one: read, unread, save, unsave; the focus stays near", async () => {
    post(world, titled("a", "b", "c"));
    const page = await world.open();
    await rowOf(page, "b").getByRole("button", { name: "Mark as read: b" }).click();
    await expectTitles(page, ["c", "a"]);
    await expect
      .poll(() =>
        page.evaluate(() => {
          const app = document.querySelector("notifications-app")!.shadowRoot!;
          const element = app.querySelector("notifications-page")!.shadowRoot!.activeElement;
          return element?.getAttribute("aria-label");
        }),
      )
      .toBe("Mark as read: a");
    await rowOf(page, "a").getByRole("button", { name: "Save: a" }).click();
    await rowOf(page, "a").getByRole("button", { name: "Remove from saved: a" }).waitFor();
    await page.getByRole("button", { name: "Saved", exact: true }).click();
    await expectTitles(page, ["a"]);
    await rowOf(page, "a").getByRole("button", { name: "Remove from saved: a" }).click();
    await page.getByText("Nothing is saved.").waitFor();
    await page.getByRole("button", { name: "Read", exact: true }).click();
    await rowOf(page, "b").getByRole("button", { name: "Mark as unread: b" }).click();
    await page.getByText("Nothing was read yet.").waitFor();
  });

  test("on many: the whole page, or some of it, in one request", async () => {
    post(world, numbered(7));
    const page = await world.open("/?view=all");
    const all = page.getByRole("checkbox", { name: "Select all on this page" });
    await all.check();
    await page.getByText("5 selected").waitFor();
    const read = page
      .getByRole("group", { name: "Actions" })
      .getByRole("button", { name: "Mark as read" });
    await read.click();
    await page
      .getByRole("group", { name: "Actions" })
      .getByRole("button", { name: "Mark as unread" })
      .waitFor();
    const [update, ...more] = world.server.requestsTo("POST", "/notifications/update");
    expect(more).toEqual([]);
    expect((update!.body as { ids: string[] }).ids).toHaveLength(5);
    expect(update!.body).toMatchObject({ read: true });
    await page.getByRole("checkbox", { name: "5 selected" }).uncheck();
    await page.getByRole("checkbox", { name: "Select: Notification 7" }).check();
    await page.getByRole("checkbox", { name: "Select: Notification 5" }).check();
    await page
      .getByRole("group", { name: "Actions" })
      .getByRole("button", { name: "Save" })
      .click();
    await page.getByRole("button", { name: "Saved", exact: true }).click();
    await expectTitles(page, ["Notification 7", "Notification 5"]);
  });

  test("nothing selected: nothing done", async () => {
    post(world, titled("a"));
    const page = await world.open();
    await rowOf(page, "a").waitFor();
    const bulk = page.getByRole("group", { name: "Actions" });
    const save = bulk.getByRole("button", { name: "Save" });
    expect(await save.getAttribute("aria-disabled")).toBe("true");
    await save.click({ force: true });
    await bulk.getByRole("button", { name: "Mark as read" }).click({ force: true });
    expect(world.server.requestsTo("POST", "/notifications/update")).toEqual([]);
  });

  test("all read: asked first, and one request", async () => {
    post(world, numbered(30));
    const page = await world.open();
    const markAll = page.getByRole("button", { name: "Mark all read" }).first();
    await markAll.click();
    const dialog = page.getByRole("dialog");
    expect(await dialog.innerText()).toContain("30 notifications");
    await page.keyboard.press("Escape");
    await expect.poll(() => dialog.count()).toBe(0);
    await markAll.click();
    await dialog.getByRole("button", { name: "Cancel" }).click();
    expect(world.server.requestsTo("POST", "/notifications/read-all")).toEqual([]);
    await markAll.click();
    await dialog.getByRole("button", { name: "Mark all read" }).click();
    await page.getByText("Nothing unread.").waitFor();
    expect(world.server.requestsTo("POST", "/notifications/read-all")).toHaveLength(1);
    expect(world.server.requestsTo("POST", "/notifications/update")).toEqual([]);
    expect(await markAll.getAttribute("aria-disabled")).toBe("true");
  });

  test("that fail are said, and change nothing", async () => {
    post(world, titled("a"));
    const page = await world.open();
    world.server.fail({ method: "POST", path: "/notifications/update", answer: 503 });
    await rowOf(page, "a").getByRole("button", { name: /^Save/ }).click();
    await page.getByRole("alert").getByText("as the test wants it").waitFor();
    await rowOf(page, "a").getByRole("button", { name: "Save: a" }).click();
    await rowOf(page, "a").getByRole("button", { name: "Remove from saved: a" }).waitFor();
    expect(await page.getByRole("alert").count()).toBe(0);
  });
});

describe("errors", () => {
  test("of loading can be tried again", async () => {
    post(world, titled("a"));
    world.server.signals.refusing = true; // Nothing but the button helps.
    world.server.fail({ method: "GET", path: "/notifications", answer: 500 });
    const page = await world.open();
    const alert = page.getByRole("alert");
    await alert.getByText("could not be loaded: as the test wants it").waitFor();
    await alert.getByRole("button", { name: "Try again" }).click();
    await expectTitles(page, ["a"]);
    expect(await alert.count()).toBe(0);
  });

  test("of the network too", async () => {
    world.server.fail({ method: "GET", path: "/status", answer: "hang up", times: 20 });
    const page = await world.open();
    await page.getByRole("alert").getByText("The server cannot be reached").waitFor();
  });

  test("nobody signed in: the way to sign in, and back", async () => {
    world.server.sessions.clear();
    const page = await world.open("/?view=saved");
    await page.getByText("You are not signed in.").waitFor();
    const href = await page.getByRole("link", { name: "Sign in" }).getAttribute("href");
    const url = new URL(href!);
    expect(url.pathname).toBe("/auth/login");
    expect(url.searchParams.get("return_to")).toBe("/?view=saved");
  });

  test("nobody signed in: no signals are tried; signed in elsewhere, all is live", async () => {
    world.server.sessions.clear();
    post(world, titled("a"));
    const page = await world.open();
    await page.getByText("You are not signed in.").waitFor();
    await page.waitForTimeout(3000);
    expect(world.server.signals.tried).toBe(0);
    world.server.sessions.set("ada", ADA);
    await page.getByRole("button", { name: "Try again" }).click();
    await expectTitles(page, ["a"]);
    await page.getByRole("link", { name: "Notifications 1 unread" }).waitFor();
    await connected(world);
    world.server.post(ADA, { payload: { title: "b" } });
    await expectTitles(page, ["b", "a"]);
    await page.getByRole("link", { name: "Notifications 2 unread" }).waitFor();
  });

  test("signing out", async () => {
    const page = await world.open();
    await page.getByText(ADA).waitFor();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByText("You are not signed in.").waitFor();
  });
});
