/**
 * The demo that was just played, as its user goes on: log in, see what was posted, post once more.
 *
 * `DEMO` is what the demo printed, as JSON; `SCREENSHOTS` says where its picture goes.
 */

import { join } from "node:path";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { expectHeading, launch, openPage, rowOf } from "../browser/support";

interface Demo {
  /** Where the page is. */
  url: string;
  user: string;
  /** Of the OpenID provider. */
  issuer: string;
  /** To post with. */
  token: string;
  /** Of what was posted already. */
  title: string;
  /** How many there are for the user. */
  unread: number;
}

const demo = JSON.parse(process.env["DEMO"]!) as Demo;
const DIRECTORY = process.env["SCREENSHOTS"]!;

let browser: Browser;
let context: BrowserContext;
/** Whether news is told to the page. */
let subscribed = false;
const world = { origins: new Set([demo.url, demo.issuer]), problems: [] as string[] };

beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());
beforeEach(async () => {
  context = await browser.newContext({ locale: "en-US", viewport: { width: 1120, height: 760 } });
});
afterEach(async () => {
  await context.close();
  expect(world.problems.splice(0)).toEqual([]);
});

async function logIn(): Promise<Page> {
  const page = await openPage(context, world, demo.url);
  page.on("websocket", (socket) =>
    socket.on("framesent", ({ payload }) => {
      subscribed ||= payload.toString().includes('"subscribe"');
    }),
  );
  await page.getByRole("link", { name: "Sign in" }).click();
  await page.waitForURL(`${demo.issuer}/**`);
  await page.getByPlaceholder("Enter any login").fill(demo.user);
  await page.getByPlaceholder("and password").fill("any");
  await page.getByRole("button", { name: "Sign-in" }).click();
  await page.getByRole("button", { name: "Continue" }).click();
  await page.waitForURL(`${demo.url}/**`);
  return page;
}

async function post(payload: Record<string, string>): Promise<void> {
  const response = await fetch(`${demo.url}/api/notifications`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${demo.token}` },
    body: JSON.stringify({ recipients: { type: "broadcast" }, payload }),
  });
  expect(response.status, await response.text()).toBe(200);
}

test("who logs in sees what was posted, and at once what is posted now", async () => {
  const page = await logIn();
  await page.getByText(`user:default/${demo.user}`).waitFor();
  const posted = rowOf(page, demo.title).first();
  await posted.waitFor();
  expect(await posted.innerText()).toContain("foo.com");
  expect(await posted.innerText()).toContain("To everybody");
  await expectHeading(page, `Unread notifications (${demo.unread})`);
  await expect.poll(() => subscribed).toBe(true);
  let loads = 0;
  page.on("load", () => (loads += 1));

  const title = "The coffee machine works again";
  await post({ title, description: "Thank you for your patience.", topic: "kitchen" });

  await page.getByRole("region", { name: "New notifications" }).getByText(title).waitFor();
  await rowOf(page, title).waitFor();
  await expectHeading(page, `Unread notifications (${demo.unread + 1})`);
  expect(loads, "the page was loaded again").toBe(0);
  await page.screenshot({ path: join(DIRECTORY, "demo.png") });
});
