/** The elements in a page of somebody else, on another origin. */

import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Page } from "playwright-core";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  ADA,
  connected,
  expectAccessible,
  expectTitles,
  numbered,
  post,
  titled,
  useWorld,
} from "./support";

const world = useWorld();
let portal: Server;
let origin: string;
let body: string;

beforeEach(async () => {
  world.server.tokens.set("a.user.token", ADA);
  const gateway = world.server.origin;
  portal = createServer((request, response) => {
    if (request.url === "/favicon.ico") {
      response.writeHead(204).end();
      return;
    }
    if (request.url === "/portal.js") {
      response.setHeader("Content-Type", "text/javascript");
      response.end(`for (const element of document.querySelectorAll("[base-url]")) {
        element.getToken = window.getToken ??= async () => "a.user.token";
      }`);
      return;
    }
    response.setHeader("Content-Type", "text/html; charset=utf-8");
    response.setHeader(
      "Content-Security-Policy",
      `default-src 'self'; script-src 'self' ${gateway}; style-src 'self'; ` +
        `connect-src ${gateway} ${gateway.replace(/^http/, "ws")}`,
    );
    response.end(`<!doctype html><html lang="en"><title>Portal</title>
      <script src="${gateway}/notifications.js"></script>
      <main>${body}</main>
      <script src="/portal.js"></script></html>`);
  });
  await new Promise<void>((resolve) => portal.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${(portal.address() as AddressInfo).port}`;
  world.server.portals.add(origin);
  body = ["notifications-sidebar-item", "notifications-page", "notification-settings"]
    .map((name) => `<${name} base-url="${gateway}/api/notifications"></${name}>`)
    .join("");
});

afterEach(() => {
  portal.closeAllConnections();
  portal.close();
});

async function open(path = "/"): Promise<Page> {
  world.origins.add(origin);
  return world.open(`${origin}${path}`);
}

test("one script tag, a base-url and a token are all it takes", async () => {
  world.server.matrix = { channels: [{ id: "Web", origins: [{ id: "ci", enabled: true }] }] };
  world.server.sessions.clear();
  post(world, titled("a"));
  const page = await open();
  await expectTitles(page, ["a"]);
  await page.getByRole("switch", { name: "Ci: Web" }).waitFor();
  await connected(world);
  expect(world.server.signals.accepted).toBe(1);
  world.server.post(ADA, { payload: { title: "b" } });
  await expectTitles(page, ["b", "a"]);
  await page.getByRole("button", { name: "Mark as read: a" }).click();
  await expectTitles(page, ["b"]);
  await expect.poll(() => page.title()).toBe("(1) Portal");
  await expectAccessible(page);
});

test("links are relative to the portal", async () => {
  post(world, [{ payload: { title: "here", link: "/catalog" } }]);
  const page = await open();
  expect(await page.getByRole("link", { name: "here" }).getAttribute("href")).toBe(
    `${origin}/catalog`,
  );
});

test("attributes say what properties say", async () => {
  body = `<notifications-sidebar-item base-url="${world.server.origin}/api/notifications"
      title-counter-enabled="false" text="Inbox" to="/inbox" snackbar-enabled="false">
      <b slot="icon">!</b></notifications-sidebar-item>
    <notifications-page base-url="${world.server.origin}/api/notifications"
      page-title="Told" page-subtitle="What happened" ignore-url theme="dark"
      icons='{"mine": "M0 0h24v24H0Z"}'></notifications-page>`;
  post(world, [...numbered(6), { payload: { title: "with icon", icon: "mine" } }]);
  const page = await open("/?view=saved");
  await page.getByRole("heading", { name: "Told", level: 1 }).waitFor();
  await page.getByText("What happened").waitFor();
  await page.getByRole("heading", { name: "Unread notifications (7)" }).waitFor();
  await page.getByRole("button", { name: "Page 2" }).click();
  await expectTitles(page, ["Notification 2", "Notification 1"]);
  expect(new URL(page.url()).search).toBe("?view=saved");
  await page.getByRole("button", { name: "Page 1" }).click();
  await expect
    .poll(() => page.locator("li.row").first().locator(".severity path").getAttribute("d"))
    .toBe("M0 0h24v24H0Z");
  const link = page.getByRole("link", { name: "Inbox" });
  expect(await link.getAttribute("href")).toBe("/inbox");
  expect(await page.title()).toBe("Portal");
  expect(
    await page
      .locator("notifications-page")
      .evaluate((element) => getComputedStyle(element).colorScheme),
  ).toBe("dark");
});

test("the item can be drawn otherwise", async () => {
  post(world, titled("a", "b"));
  const page = await open();
  await page.evaluate(() => {
    const item = document.querySelector("notifications-sidebar-item") as unknown as {
      renderItem: unknown;
    };
    item.renderItem = ({ unreadCount, to }: { unreadCount: number; to: string }) => {
      const link = document.createElement("a");
      link.href = to;
      link.textContent = `Mine: ${unreadCount}`;
      return link;
    };
  });
  await page.getByRole("link", { name: "Mine: 2" }).waitFor();
});

test("an element that is moved, removed and put back goes on", async () => {
  post(world, titled("a"));
  const page = await open();
  await expectTitles(page, ["a"]);
  await connected(world);
  await page.evaluate(() => {
    const elements = [...document.querySelectorAll("main > *")];
    elements.forEach((element) => element.remove());
    Object.assign(window, { elements });
  });
  await connected(world, 0);
  await expect.poll(() => page.title()).toBe("Portal");
  await page.evaluate(() => {
    const { elements } = window as unknown as { elements: Element[] };
    document.querySelector("main")!.append(...elements);
  });
  await connected(world);
  world.server.post(ADA, { payload: { title: "b" } });
  await expectTitles(page, ["b", "a"]);
});

test("a user who changes sees what is his", async () => {
  const grace = "user:default/grace";
  world.server.tokens.set("token.of.grace", grace);
  post(world, titled("of ada"));
  world.server.store.add(grace, { payload: { title: "of grace" } }, grace);
  const page = await open();
  await expectTitles(page, ["of ada"]);
  await page.evaluate(() => {
    const other = async () => "token.of.grace";
    document.querySelectorAll("[base-url]").forEach((element) => {
      Object.assign(element, { getToken: other });
    });
  });
  await expectTitles(page, ["of grace"]);
});

test("a token that is refused is said to the portal", async () => {
  world.server.tokens.clear();
  const page = await open();
  await page.getByText("You are not signed in.").first().waitFor();
  const told = page.evaluate(
    () =>
      new Promise((resolve) =>
        window.addEventListener("notifications-unauthenticated", () => resolve(true), {
          once: true,
        }),
      ),
  );
  await page.getByRole("button", { name: "Try again" }).first().click();
  expect(await told).toBe(true);
});

test.each(["notifications-page", "notifications-sidebar-item", "notification-settings"])(
  "all attributes of %s are documented, and no others",
  async (name) => {
    const page = await open();
    const attributes = await page.evaluate(
      (tag) =>
        (customElements.get(tag) as unknown as { observedAttributes: string[] }).observedAttributes,
      name,
    );
    const text = readFileSync(new URL("../../../docs/gateway/page.md", import.meta.url), "utf8");
    const documented = ["All", `\`<${name}>\``].flatMap((heading) => {
      const section = text.split(`\n### ${heading}\n`)[1]!.split(/\n##/)[0]!;
      return [...section.matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, attribute]) => attribute);
    });
    expect(documented.sort()).toEqual([...attributes].sort());
  },
);

test("a script that is loaded twice does no harm", async () => {
  body += `<script src="${world.server.origin}/notifications.js"></script>`;
  post(world, titled("a"));
  const page = await open();
  await expectTitles(page, ["a"]);
});
