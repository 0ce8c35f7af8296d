import { expect, test } from "vitest";
import { ADA, connected, overflow, post, rows, titled, useWorld } from "./support";

const world = useWorld();

const MARKUP = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>";
const RTL = "\u202eevil\u2066exe.txt\u202e";

test("markup is text, in every field", async () => {
  const notification = {
    payload: {
      title: MARKUP,
      description: `${MARKUP} ${"x".repeat(100)} \${alert(1)}`,
      link: MARKUP,
      topic: MARKUP,
      icon: MARKUP,
      scope: MARKUP,
    },
    origin: MARKUP,
  };
  post(world, [notification]);
  world.server.matrix = {
    channels: [
      {
        id: MARKUP,
        origins: [{ id: MARKUP, enabled: true, topics: [{ id: MARKUP, enabled: true }] }],
      },
    ],
  };
  const page = await world.open();
  const row = rows(page).first();
  await row.getByRole("button", { name: "Show more" }).click();
  const text = await row.innerText();
  expect(text.split(MARKUP)).toHaveLength(5);
  expect(await row.locator("a, img, script").count()).toBe(0);
  await connected(world);
  world.server.post(ADA, notification);
  await page.getByRole("region", { name: "New notifications" }).getByText("</script>").waitFor();
  await page.goto(`${world.server.origin}/#settings`);
  await page.getByRole("switch").first().waitFor();
  await page.locator("notification-settings .expander").click();
  await expect.poll(() => page.getByRole("switch").count()).toBe(2);
  expect(await page.title()).not.toContain("owned");
});

test.each([
  "javascript:alert(1)",
  "JAVASCRIPT:alert(1)",
  "java\tscript:alert(1)",
  "data:text/html,<script>alert(1)</script>",
  "//evil.example",
  "/\\evil.example",
  "https://user@evil.example",
  "mailto:a@b.example",
])("%j is no link", async (link) => {
  post(world, [{ payload: { title: "click me", link } }]);
  const page = await world.open();
  await rows(page).first().waitFor();
  expect(await rows(page).getByRole("link").count()).toBe(0);
});

test.each([
  ["overridden", RTL],
  ["that ends its isolation", "\u2069\u202eevil"],
  ["in Hebrew", "שלום עולם"],
])("text from right to left, %s, stays in its place", async (_, title) => {
  post(world, [{ payload: { title, link: "https://foo.example/", topic: title }, origin: title }]);
  const page = await world.open();
  const row = rows(page).first();
  await row.waitFor();
  // The host after the title reads from left to right, and stands to the right of it.
  const host = row.locator(".host bdi");
  expect(await host.innerText()).toBe("foo.example");
  expect(await host.evaluate((element) => getComputedStyle(element).direction)).toBe("ltr");
  const [titleBox, hostBox] = await Promise.all([
    row.locator("a").boundingBox(),
    host.boundingBox(),
  ]);
  expect(hostBox!.x).toBeGreaterThanOrEqual(titleBox!.x + titleBox!.width);
});

test("megabytes are cut, and nothing becomes wider than the window", async () => {
  const long = "x".repeat(1 << 20);
  post(world, [
    {
      payload: {
        title: `long${long}`,
        description: long,
        topic: long,
        link: `https://a.b/${long}`,
      },
      origin: long,
    },
    { payload: { title: `marks${"a\u0301\u0302".repeat(1 << 18)}` } },
  ]);
  const page = await world.open("/", { viewport: { width: 320, height: 700 } });
  await expect.poll(() => rows(page).count()).toBe(2);
  expect(await overflow(page)).toBe(0);
  const row = rows(page).nth(1);
  expect((await row.locator("h3 bdi").first().innerText()).length).toBe(255);
  await row.getByRole("button", { name: "Show more" }).click();
  await expect
    .poll(async () => (await row.locator("p[id^=description]").innerText()).length)
    .toBe(32 * 1024);
  expect(await overflow(page)).toBe(0);
});

test("control characters and lone surrogates do no harm", async () => {
  post(world, [{ payload: { title: "a\u0000b\u0007c\ud800d\r\ne" } }, ...titled("\u200b")]);
  const page = await world.open();
  await expect.poll(() => rows(page).count()).toBe(2);
});

test("an answer that is not as it should be is an error, not a blank page", async () => {
  const page = await world.open("/?view=read");
  await page.getByText("Nothing was read yet.").waitFor();
  await page.route("**/api/notifications/notifications?*", (route) =>
    route.fulfill({ json: { totalCount: 1, notifications: [{ id: {}, payload: "<b>" }] } }),
  );
  await page.getByRole("button", { name: "All", exact: true }).click();
  await page.getByRole("alert").getByText("not as expected").waitFor();
  await page.unroute("**/api/notifications/notifications?*");
  await page.route("**/api/notifications/notifications?*", (route) =>
    route.fulfill({ contentType: "text/html", body: "<html>proxy</html>" }),
  );
  await page.getByRole("button", { name: "Try again" }).click();
  await page.getByRole("alert").getByText("not JSON").waitFor();
});
