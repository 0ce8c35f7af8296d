import type { Page } from "playwright-core";
import { describe, expect, test } from "vitest";
import type { New } from "../server/store";
import {
  ADA,
  connected,
  expectAccessible,
  expectTitles,
  overflow,
  post,
  rows,
  titled,
  useWorld,
} from "./support";

const world = useWorld();

const SOME: (New & { broadcast?: boolean })[] = [
  { payload: { title: "low", severity: "low" } },
  { payload: { title: "read", severity: "normal" }, read: true, saved: true },
  { payload: { title: "high", severity: "high", topic: "builds", link: "/catalog/x" } },
  {
    payload: {
      title: "critical",
      severity: "critical",
      description: "word ".repeat(50),
      link: "http://foo.com/bar",
      topic: "deploys",
    },
    broadcast: true,
  },
  ...titled("five", "six", "seven"),
];

const MATRIX = {
  channels: ["Web", "Email", "SlackNotificationProcessor"].map((id) => ({
    id,
    origins: [
      { id: "plugin:ci", enabled: true, topics: [{ id: "builds", enabled: id === "Web" }] },
      { id: "plugin:scaffolder", enabled: id === "Web", topics: [{ id: "done", enabled: false }] },
    ],
  })),
};

describe.each([
  ["light", 1280],
  ["dark", 1280],
  ["light", 320],
  ["dark", 320],
] as const)("axe finds nothing: %s, %i px", (colorScheme, width) => {
  const open = (path: string): Promise<Page> =>
    world.open(path, { colorScheme, viewport: { width, height: 800 } });

  test("on the page", async () => {
    post(world, SOME);
    const page = await open("/?view=all&size=10");
    await expect.poll(() => rows(page).count()).toBe(7);
    expect(await overflow(page)).toBe(0);
    await expectAccessible(page);
    await page.getByRole("button", { name: "Show more" }).click();
    await page.getByRole("checkbox", { name: "Select: high" }).check();
    await page.getByText("1 selected").waitFor();
    await expectAccessible(page);
  });

  test("in the dialog", async () => {
    post(world, SOME);
    const page = await open("/");
    await page.getByRole("button", { name: "Mark all read" }).first().click();
    await page.getByRole("dialog").waitFor();
    await expectAccessible(page);
  });

  test("on a snackbar", async () => {
    const page = await open("/");
    await connected(world);
    for (const { payload } of SOME.slice(0, 4)) {
      world.server.post(ADA, { payload });
    }
    await page
      .getByRole("region", { name: "New notifications" })
      .getByText("critical", { exact: true })
      .waitFor();
    expect(await overflow(page)).toBe(0);
    await expectAccessible(page);
  });

  test("with nothing, and with errors", async () => {
    const page = await open("/?search=nothing");
    await page.getByText("No notification matches").waitFor();
    await expectAccessible(page);
    world.server.fail({ method: "GET", path: "/notifications", answer: 500, times: 100 });
    await page.reload();
    await page.getByRole("alert").waitFor();
    await expectAccessible(page);
  });

  test("on the settings", async () => {
    world.server.matrix = MATRIX;
    const page = await open("/#settings");
    await page.getByRole("button", { name: "Plugin scaffolder" }).click();
    await expect.poll(() => page.getByRole("switch").count()).toBe(9);
    expect(await overflow(page)).toBe(0);
    await expectAccessible(page);
  });
});

describe("by keyboard", () => {
  async function focused(page: Page): Promise<string> {
    return page.evaluate(() => {
      let element = document.activeElement;
      while (element?.shadowRoot?.activeElement) {
        element = element.shadowRoot.activeElement;
      }
      return element?.getAttribute("aria-label") ?? element?.textContent?.trim() ?? "";
    });
  }

  async function tabTo(page: Page, name: RegExp): Promise<void> {
    for (let step = 0; step < 60; step += 1) {
      await page.keyboard.press("Tab");
      if (name.test(await focused(page))) {
        return;
      }
    }
    throw new Error(`the focus never came to ${String(name)}`);
  }

  test("everything can be reached and done", async () => {
    post(world, titled("first", "second"));
    const page = await world.open();
    await expectTitles(page, ["second", "first"]);
    await tabTo(page, /^Read$/);
    await tabTo(page, /^Select: second$/);
    await page.keyboard.press("Space");
    await page.getByText("1 selected").waitFor();
    await tabTo(page, /^Save: second$/);
    await page.keyboard.press("Enter");
    await expect.poll(() => focused(page)).toBe("Remove from saved: second");
    await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("Enter");
    await expectTitles(page, ["first"]);
    await expect.poll(() => focused(page)).toBe("Mark as read: first");
    await page.keyboard.press("Enter");
    await page.getByText("Nothing unread.").waitFor();
    await expect.poll(() => focused(page)).toBe("Unread notifications (0)");
  });

  test("the dialog keeps the focus, and gives it back", async () => {
    post(world, titled("a"));
    const page = await world.open();
    await expectTitles(page, ["a"]);
    await tabTo(page, /^Mark all read$/);
    await page.keyboard.press("Enter");
    await expect.poll(() => focused(page)).toBe("Cancel");
    await page.keyboard.press("Tab");
    await expect.poll(() => focused(page)).toBe("Mark all read");
    await page.keyboard.press("Escape");
    await expect.poll(() => page.getByRole("dialog").count()).toBe(0);
    await expect.poll(() => focused(page)).toBe("Mark all read");
  });
});

describe("what is said", () => {
  const status = (page: Page) => page.locator("notifications-page section [role=status]").first();

  test("after a choice: what is shown, and where one is", async () => {
    post(world, [...titled("a", "b"), ...SOME]);
    const page = await world.open();
    await page.getByRole("button", { name: "All", exact: true }).click();
    await expect.poll(() => status(page).innerText()).toBe("All notifications (9), page 1 of 2");
    await page.getByRole("button", { name: "Mark as read: six" }).click();
    await expect.poll(() => status(page).innerText()).toBe("1 notification marked as read");
  });

  test("when a new one comes", async () => {
    const page = await world.open();
    await connected(world);
    world.server.post(ADA, { payload: { title: "hear, hear" } });
    await page.getByText("New notification: hear, hear").waitFor({ state: "attached" });
  });
});

test("who wants no motion has none", async () => {
  post(world, titled("a"));
  const page = await world.open("/", { reducedMotion: "reduce" });
  await expectTitles(page, ["a"]);
  const moving = await page.evaluate(() => document.getAnimations().length);
  expect(moving).toBe(0);
});
