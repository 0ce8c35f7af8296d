/** A browser, a server, and what no test may do: break the CSP, or leave the origin. */

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import {
  chromium,
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  type Locator,
  type Page,
} from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest";
import type { New, Stored } from "../server/store";
import { MockServer } from "../server/server";

export const ADA = "user:default/ada";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const FLAGS = [
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-gpu",
  "--disable-quic",
  "--disable-sync",
  "--no-first-run",
  "--no-sandbox",
];

export interface OpenOptions extends BrowserContextOptions {
  /** Called before anything is loaded. */
  prepare?: (page: Page) => Promise<void>;
}

export interface World {
  server: MockServer;
  /** Open a page, signed in as Ada by her session's cookie. */
  open: (path?: string, options?: OpenOptions) => Promise<Page>;
  /** Origins that requests may go to, beside the server's. */
  origins: Set<string>;
  /** Problems found so far; there must be none in the end. */
  problems: string[];
}

/** Give each test of a file a world of its own, in one browser. */
export function useWorld(): World {
  const world = {} as World;
  let browser: Browser;
  const contexts: BrowserContext[] = [];

  beforeAll(async () => {
    browser = await launch();
  });
  afterAll(() => browser.close());

  beforeEach(async () => {
    world.server = await MockServer.start();
    world.server.sessions.set("ada", ADA);
    world.origins = new Set([world.server.origin]);
    world.problems = [];
    world.open = async (path = "/", { prepare, ...options } = {}) => {
      const context = await browser.newContext({
        locale: "en-US",
        timezoneId: "UTC",
        viewport: { width: 1280, height: 900 },
        ...options,
      });
      contexts.push(context);
      await context.addCookies([
        {
          name: "session",
          value: "ada",
          url: world.server.origin,
          httpOnly: true,
          sameSite: "Lax",
        },
      ]);
      return openPage(context, world, new URL(path, world.server.origin).href, prepare);
    };
  });

  afterEach(async () => {
    await Promise.all(contexts.splice(0).map((context) => context.close()));
    await world.server.stop();
    expect(world.problems).toEqual([]);
  });

  return world;
}

export function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    args: FLAGS,
  });
}

/** Open a page, and note what it must not do. */
export async function openPage(
  context: BrowserContext,
  world: Pick<World, "origins" | "problems">,
  url: string,
  prepare?: (page: Page) => Promise<void>,
): Promise<Page> {
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  page.on("pageerror", (error) => world.problems.push(`an error: ${error.message}`));
  page.on("console", (message) => {
    if (/Content Security Policy|TrustedHTML|csp-violation/i.test(message.text())) {
      world.problems.push(message.text());
    }
  });
  page.on("request", (request) => {
    if (!world.origins.has(new URL(request.url()).origin)) {
      world.problems.push(`a request leaves the origin: ${request.url()}`);
    }
  });
  page.on("websocket", (socket) => {
    const origin = new URL(socket.url()).origin.replace(/^ws/, "http");
    if (!world.origins.has(origin)) {
      world.problems.push(`a socket leaves the origin: ${socket.url()}`);
    }
  });
  await page.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) =>
      console.error(`csp-violation: ${event.violatedDirective} ${event.blockedURI}`),
    );
  });
  await page.addInitScript({ content: AXE });
  await prepare?.(page);
  await page.goto(url);
  return page;
}

/** Put some notifications there, the first the oldest, an hour between each. */
export function post(
  world: World,
  notifications: readonly (New & { broadcast?: boolean })[],
): Stored[] {
  const now = Date.now();
  return notifications.map(({ broadcast, ...notification }, index) =>
    world.server.store.add(
      broadcast ? null : ADA,
      { created: new Date(now - (notifications.length - index) * 3_600_000), ...notification },
      ADA,
    ),
  );
}

export function titled(...titles: string[]): New[] {
  return titles.map((title) => ({ payload: { title } }));
}

export function numbered(count: number, name = "Notification"): New[] {
  return titled(...Array.from({ length: count }, (_, index) => `${name} ${index + 1}`));
}

export function rows(page: Page): Locator {
  return page.locator("notifications-page li.row");
}

/** The row with a title. */
export function rowOf(page: Page, title: string): Locator {
  return rows(page).filter({ has: page.getByRole("heading", { name: title, level: 3 }) });
}

/** Wait until the page shows these titles, in this order. */
export async function expectTitles(page: Page, titles: readonly string[]): Promise<void> {
  await expect
    .poll(() =>
      page.locator("notifications-page li.row :is(h3 > bdi, h3 > a > bdi)").allInnerTexts(),
    )
    .toEqual(titles);
}

/** Wait until the heading of the list says it. */
export async function expectHeading(page: Page, text: string): Promise<void> {
  await expect.poll(() => page.locator("notifications-page #heading").innerText()).toBe(text);
}

/** Wait until the URL's query says this; the browser tells of a change a little later. */
export async function expectQuery(
  page: Page,
  parameters: Readonly<Record<string, string>>,
): Promise<void> {
  await expect.poll(() => Object.fromEntries(new URL(page.url()).searchParams)).toEqual(parameters);
}

/** Stop the time of timers that the page sets from now on; `page.clock.runFor` lets it go by. */
export async function stopClock(page: Page): Promise<void> {
  await page.clock.install();
  await page.clock.pauseAt(Date.now() + 1000);
}

/** Wait until there is a subscription: from then on signals arrive. */
export async function connected(world: World, count = 1): Promise<void> {
  await expect.poll(() => world.server.signals.subscribers).toBe(count);
}

/** Check a page with axe, by all its rules, best practices included. */
export async function expectAccessible(page: Page): Promise<void> {
  const violations = await page.evaluate(async () => {
    const { axe } = window as unknown as {
      axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> };
    };
    const results = await axe.run();
    return results.violations.map(
      ({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" | ")}`,
    );
  });
  expect(violations).toEqual([]);
}

/** How many pixels the page is wider than its window. */
export async function overflow(page: Page): Promise<number> {
  return page.evaluate(
    () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
  );
}
