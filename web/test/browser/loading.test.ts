/** Between a choice and its answer the page shows what was there, and calls it so. */

import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { expectHeading, expectTitles, numbered, post, rows, useWorld } from "./support";

const world = useWorld();

/** Keep back the answers to requests for lists, until what is returned is called. */
async function holdLists(page: Page): Promise<() => void> {
  let answer!: () => void;
  const answered = new Promise<void>((resolve) => (answer = resolve));
  await page.route("**/api/notifications/notifications?*", async (route) => {
    await answered;
    await route.continue();
  });
  return answer;
}

test("the heading, the rows and the pager change together, when the answer is there", async () => {
  post(
    world,
    numbered(6).map((item) => ({ ...item, read: true })),
  );
  const page = await world.open("/?view=read&page=2");
  await expectTitles(page, ["Notification 1"]);
  const answer = await holdLists(page);
  const list = page.locator("notifications-page section");
  const range = list.locator(".range");
  await page.getByRole("button", { name: "Saved", exact: true }).click();
  await page.getByRole("button", { name: "Saved", exact: true, pressed: true }).waitFor();
  expect(await list.getAttribute("aria-busy")).toBe("true");
  expect(await list.getByRole("heading", { level: 2 }).innerText()).toBe("Read notifications (6)");
  expect(await rows(page).count()).toBe(1);
  expect(await range.innerText()).toBe("6–6 of 6");
  await list
    .getByRole("button", { name: "Page 2", exact: true })
    .and(list.locator("[aria-current=page]"))
    .waitFor();

  answer();
  await expectHeading(page, "Saved notifications (0)");
  expect(await rows(page).count()).toBe(0);
  expect(await list.getByText("Nothing is saved.").count()).toBe(1);
  expect(await range.innerText()).toBe("0 of 0");
});

test("nothing is called empty before it is known to be", async () => {
  const page = await world.open();
  await page.getByText("Nothing unread.").waitFor();
  const answer = await holdLists(page);
  await page.getByRole("button", { name: "All", exact: true }).click();
  await page.getByRole("button", { name: "All", exact: true, pressed: true }).waitFor();
  expect(await page.getByText("There are no notifications.").count()).toBe(0);
  answer();
  await page.getByText("There are no notifications.").waitFor();
});

test("nothing is counted before it is known", async () => {
  world.server.delay = 3_600_000;
  const page = await world.open("/?view=all");
  await page.getByText("Loading notifications…").waitFor();
  await expectHeading(page, "All notifications");
});

test("what came of a choice is said even if a refresh brings it", async () => {
  post(world, numbered(2));
  const page = await world.open();
  await expectTitles(page, ["Notification 2", "Notification 1"]);
  await expect.poll(() => world.server.requestsTo("GET", "/notifications").length).toBe(2);
  world.server.delay = 500;
  await page.getByRole("button", { name: "All", exact: true }).click();
  await page.evaluate(() => window.dispatchEvent(new Event("notifications-changed")));
  const status = page.locator("notifications-page section [role=status]").first();
  await expect.poll(() => status.innerText()).toBe("All notifications (2), page 1 of 1");
});
