/** What was built is what may be served. */

import { readdirSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { useWorld } from "./support";

const world = useWorld();

const DIST = fileURLToPath(new URL("../../dist/", import.meta.url));
const files = readdirSync(DIST, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => `${entry.parentPath}/${entry.name}`.replace(DIST, "").replace(/^\/+/, ""))
  .sort();
const read = (file: string): string => readFileSync(`${DIST}/${file}`, "utf8");

test("there is one script and one sheet for the page, hashed, and one script for portals", () => {
  expect(files.map((file) => file.replace(/-[\w-]{8}\./, "-HASH."))).toEqual([
    "assets/index-HASH.css",
    "assets/index-HASH.js",
    "favicon.svg",
    "index.html",
    "notifications.js",
  ]);
});

test.each(["notifications.js", files.find((file) => file.endsWith(".js"))!])(
  "%s is smaller than 150 kB, packed",
  (file) => {
    expect(gzipSync(read(file), { level: 9 }).length).toBeLessThan(150_000);
  },
);

test("the page has nothing inline, and refers to nothing elsewhere", () => {
  const page = read("index.html");
  expect(page).not.toMatch(/<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)/);
  const references = [...page.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, url]) => url!);
  expect(references).toHaveLength(3);
  references.forEach((url) => expect(url).toMatch(/^\.\//));
});

test("the scripts name no other host", () => {
  for (const file of files.filter((name) => /\.(js|css)$/.test(name))) {
    const hosts = [...read(file).matchAll(/https?:\/\/([\w.-]+)/g)].map(([, host]) => host!);
    // Names of XML, and Lit's word to developers; neither is ever asked for.
    expect(hosts.filter((host) => !["www.w3.org", "lit.dev"].includes(host))).toEqual([]);
  }
});

test("the first paint needs nothing but the origin: even if the API does not answer", async () => {
  world.server.delay = 3_600_000;
  const page = await world.open();
  const painted = (): Promise<string[]> =>
    page.evaluate(() => performance.getEntriesByType("paint").map(({ name }) => name));
  await expect.poll(painted).toContain("first-contentful-paint");
  await page.getByRole("heading", { name: "Notifications", level: 1 }).waitFor();
  const asked = await page.evaluate(() =>
    performance.getEntriesByType("resource").map(({ name }) => new URL(name).origin),
  );
  expect(new Set(asked)).toEqual(world.origins);
});
