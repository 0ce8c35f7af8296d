/**
 * The page and the gateway as they are: what the mock server only says it does.
 *
 * `GATEWAY` is where it serves, with Ada signed in by the cookie `session=ada`; `POST /test/deliver`
 * there puts a notification into her inbox, or with `"broadcast": true` into everybody's.
 */

import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import {
  expectAccessible,
  expectHeading,
  expectTitles,
  launch,
  openPage,
  rowOf,
  rows,
} from "../browser/support";

const GATEWAY = process.env["GATEWAY"]!;

interface Delivery {
  title: string;
  description?: string;
  link?: string;
  severity?: string;
  topic?: string;
  scope?: string;
  origin?: string;
  broadcast?: boolean;
}

let browser: Browser;
let context: BrowserContext;
const world = { origins: new Set([GATEWAY]), problems: [] as string[] };

beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());
beforeEach(async () => {
  context = await browser.newContext({ locale: "en-US", viewport: { width: 1280, height: 900 } });
  await context.addCookies([{ name: "session", value: "ada", url: GATEWAY, httpOnly: true }]);
});
afterEach(async () => {
  await context.close();
  expect(world.problems.splice(0)).toEqual([]);
});

async function deliver(delivery: Delivery): Promise<string> {
  const response = await fetch(`${GATEWAY}/test/deliver`, {
    method: "POST",
    body: JSON.stringify(delivery),
  });
  expect(response.status).toBe(200);
  return ((await response.json()) as { id: string }).id;
}

function open(path = "/"): Promise<Page> {
  return openPage(context, world, GATEWAY + path);
}

test("an inbox is read, filtered, marked, saved, linked to, emptied and set, live", async () => {
  const page = await open();
  await page.getByText("Nothing unread.").waitFor();
  await page.getByText("user:default/ada").waitFor();

  for (let number = 1; number <= 6; number += 1) {
    await deliver({ title: `Build ${number}`, topic: "builds", origin: "plugin:ci" });
  }
  await expectHeading(page, "Unread notifications (6)");
  await expect.poll(() => page.title()).toBe("(6) Notifications");
  const id = await deliver({
    title: "Title of broadcast message",
    description: "</script><script>alert(1)</script>",
    link: "http://foo.com/bar",
    severity: "critical",
    topic: "The topic",
    broadcast: true,
  });
  const snackbar = page.getByRole("region", { name: "New notifications" });
  await snackbar.getByText("Title of broadcast message").waitFor();
  await expectHeading(page, "Unread notifications (7)");
  await expect.poll(() => rows(page).count()).toBe(5);
  const broadcast = rowOf(page, "Title of broadcast message");
  expect(await broadcast.innerText()).toContain("</script><script>alert(1)</script>");
  expect(await broadcast.innerText()).toContain("To everybody");
  await expectAccessible(page);

  await page.getByLabel("Topic", { exact: true }).selectOption("The topic");
  await expectTitles(page, ["Title of broadcast message"]);
  await page.getByLabel("Min severity").selectOption("High");
  await page.getByLabel("Sent out").selectOption("Last 24 hours");
  for (const sorting of ["Oldest on top", "Topic", "Origin"]) {
    await page.getByLabel("Sort by").selectOption(sorting);
    await expectHeading(page, "Unread notifications (1)");
  }
  await page.goto(`${GATEWAY}/?search=build%203`);
  await expectTitles(page, ["Build 3"]);

  await rowOf(page, "Build 3").getByRole("button", { name: "Save: Build 3" }).click();
  await rowOf(page, "Build 3").getByRole("button", { name: "Mark as read: Build 3" }).click();
  await page.getByText("No notification matches").waitFor();
  await page.goto(`${GATEWAY}/?view=saved`);
  await expectTitles(page, ["Build 3"]);

  await page.goto(`${GATEWAY}/?id=${id}`);
  await expect.poll(() => broadcast.getAttribute("aria-current")).toBe("true");
  await page.goto(`${GATEWAY}/?id=00000000-0000-4000-8000-000000000000`);
  await page.getByText("is not there").waitFor();

  await page.getByRole("button", { name: "Mark all read" }).first().click();
  await page.getByRole("dialog").getByRole("button", { name: "Mark all read" }).click();
  await page.getByText("Nothing unread.").waitFor();
  await expect.poll(() => page.title()).toBe("Notifications");

  await page.goto(`${GATEWAY}/#settings`);
  const web = page.getByRole("switch", { name: "Plugin ci: Web", exact: true });
  await expect.poll(() => web.isChecked()).toBe(true);
  await page.getByRole("button", { name: "Plugin ci" }).click();
  await page.getByRole("switch", { name: "Plugin ci, Builds: Web" }).uncheck();
  await page.getByRole("switch", { name: "Plugin ci: Email", exact: true }).uncheck();
  await page.waitForLoadState("networkidle");
  await page.reload();
  await expect
    .poll(() => page.getByRole("switch", { name: "Plugin ci: Email", exact: true }).isChecked())
    .toBe(false);
  await page.getByRole("button", { name: "Plugin ci" }).click();
  const topic = page.getByRole("switch", { name: "Plugin ci, Builds: Web" });
  expect(await topic.isChecked()).toBe(false);
  expect(await page.getByRole("alert").count()).toBe(0);
});

test("an update of a scope takes its notification's place, and is unread again", async () => {
  await deliver({ title: "Deploy begins", scope: "deploy-1", origin: "plugin:cd" });
  const page = await open();
  await rowOf(page, "Deploy begins")
    .getByRole("button", { name: /^Mark as read/ })
    .click();
  await expect.poll(() => rowOf(page, "Deploy begins").count()).toBe(0);
  await deliver({ title: "Deploy is done", scope: "deploy-1", origin: "plugin:cd" });
  const row = rowOf(page, "Deploy is done");
  await row.waitFor();
  expect(await row.locator("time").getAttribute("title")).toMatch(/^Updated /);
  await page.getByRole("button", { name: "All", exact: true }).click();
  await expect.poll(() => rowOf(page, "Deploy begins").count()).toBe(0);
});

test("nobody sees anything", async () => {
  await context.clearCookies();
  const page = await open();
  await page.getByText("You are not signed in.").waitFor();
  expect(await rows(page).count()).toBe(0);
});
