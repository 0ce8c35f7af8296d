/** Pictures for the documentation, of what the tests see; `SCREENSHOTS` says where to. */

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import type { New } from "../server/store";
import { ADA, connected, rowOf, rows, useWorld } from "./support";

const world = useWorld();
const WANTED = process.env["SCREENSHOTS"];
const DIRECTORY = WANTED ?? mkdtempSync(join(tmpdir(), "screenshots-"));
mkdirSync(DIRECTORY, { recursive: true });
afterAll(() => {
  if (WANTED === undefined) {
    rmSync(DIRECTORY, { recursive: true });
  }
});

const HOUR = 3_600_000;

function fill(): void {
  const notifications: (New & { hours: number; broadcast?: boolean })[] = [
    { hours: 72, payload: { title: "Your access to payments expires in a week" }, read: true },
    {
      hours: 50,
      payload: { title: "Component checkout was registered", severity: "low", icon: "catalog" },
      origin: "plugin:catalog",
    },
    {
      hours: 26,
      payload: { title: "New golden path for Python services", topic: "docs", icon: "docs" },
      origin: "platform-team",
      broadcast: true,
    },
    {
      hours: 5,
      payload: {
        title: "checkout was deployed to production",
        description: "Version 4.12.0, by Grace Hopper.",
        link: "/catalog/default/component/checkout",
        topic: "deployments",
      },
      origin: "argo-cd",
    },
    {
      hours: 1.5,
      payload: {
        title: "Build of payments failed",
        description:
          "3 of 1,204 tests failed in the stage integration: test_refund_twice, test_refund_of_nothing, " +
          "test_refund_after_close. The last good build was 817.",
        link: "https://ci.example.com/payments/818",
        severity: "high",
        topic: "builds",
      },
      origin: "ci",
      saved: true,
    },
    {
      hours: 0.2,
      payload: {
        title: "Title of broadcast message",
        link: "http://foo.com/bar",
        severity: "critical",
        topic: "The topic",
      },
      origin: "external:my-service",
      broadcast: true,
    },
  ];
  for (const { hours, broadcast, ...notification } of notifications) {
    const created = new Date(Date.now() - hours * HOUR);
    world.server.store.add(broadcast ? null : ADA, { created, ...notification }, ADA);
  }
  world.server.matrix = {
    channels: ["Web", "Email"].map((id) => ({
      id,
      origins: [
        { id: "argo-cd", enabled: true, topics: [{ id: "deployments", enabled: id === "Web" }] },
        { id: "ci", enabled: id === "Web", topics: [{ id: "builds", enabled: id === "Web" }] },
        { id: "platform-team", enabled: true },
      ],
    })),
  };
}

test.each([
  ["page-light", 1120, 760, "light"],
  ["page-dark", 1120, 760, "dark"],
  ["page-narrow", 360, 760, "light"],
] as const)("%s", async (name, width, height, colorScheme) => {
  fill();
  const page = await world.open("/", { viewport: { width, height }, colorScheme });
  await expect.poll(() => rows(page).count()).toBe(5);
  await rowOf(page, "Build of payments failed").waitFor();
  await page.getByRole("link", { name: "Notifications 5 unread" }).waitFor();
  await page.screenshot({ path: join(DIRECTORY, `${name}.png`) });
});

test("page-live", async () => {
  fill();
  const page = await world.open("/", { viewport: { width: 1120, height: 760 } });
  await expect.poll(() => rows(page).count()).toBe(5);
  await connected(world);
  world.server.post(ADA, {
    payload: { title: "Ada, your review is asked for", link: "/reviews/7", topic: "reviews" },
    origin: "plugin:reviews",
  });
  await page.getByRole("region", { name: "New notifications" }).getByText("review").waitFor();
  await rowOf(page, "Ada, your review is asked for").waitFor();
  await page.screenshot({ path: join(DIRECTORY, "page-live.png") });
});

test("settings", async () => {
  fill();
  const page = await world.open("/#settings", { viewport: { width: 1120, height: 520 } });
  await page.getByRole("button", { name: "Argo cd" }).click();
  await expect.poll(() => page.getByRole("switch").count()).toBe(8);
  await page.screenshot({ path: join(DIRECTORY, "settings.png") });
});
