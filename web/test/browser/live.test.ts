import { expect, test } from "vitest";
import {
  ADA,
  connected,
  expectHeading,
  expectTitles,
  post,
  rowOf,
  titled,
  useWorld,
} from "./support";

const world = useWorld();

test("what comes is there without a reload", async () => {
  post(world, titled("a"));
  const page = await world.open();
  await expectTitles(page, ["a"]);
  await connected(world);
  world.server.post(ADA, { payload: { title: "b" } });
  await expectTitles(page, ["b", "a"]);
  await expectHeading(page, "Unread notifications (2)");
});

test("what is read elsewhere goes, the selection of the rest stays", async () => {
  const [a] = post(world, titled("a", "b"));
  const page = await world.open();
  await expectTitles(page, ["b", "a"]);
  await connected(world);
  for (const title of ["a", "b"]) {
    await page.getByRole("checkbox", { name: `Select: ${title}` }).check();
  }
  world.server.store.update(ADA, [a!.id], { read: true });
  world.server.signals.publish(ADA, { action: "notification_read", notification_ids: [a!.id] });
  await expectTitles(page, ["b"]);
  await page.getByText("1 selected").waitFor();
});

test("a storm of signals is a refresh every two seconds", async () => {
  const page = await world.open();
  await page.getByText("Nothing unread.").waitFor();
  await connected(world);
  await expect
    .poll(() => world.server.requestsTo("GET", "/notifications").length)
    .toBeGreaterThanOrEqual(2);
  const before = world.server.requestsTo("GET", "/notifications").length;
  const begun = Date.now();
  for (let number = 0; number < 200; number += 1) {
    world.server.post(ADA, { payload: { title: `n${number}` } });
  }
  await expectHeading(page, "Unread notifications (200)");
  const refreshes = world.server.requestsTo("GET", "/notifications").length - before;
  expect(refreshes).toBeLessThanOrEqual(2 + (Date.now() - begun) / 2000);
});

test("after a lost connection everything is read anew", async () => {
  const page = await world.open();
  await page.getByText("Nothing unread.").waitFor();
  await connected(world);
  world.server.signals.refusing = true;
  world.server.signals.drop();
  await connected(world, 0);
  world.server.store.add(ADA, { payload: { title: "missed" } }, ADA);
  world.server.signals.refusing = false;
  await expectTitles(page, ["missed"]);
  await connected(world);
});

test("signals that are none do no harm", async () => {
  const page = await world.open();
  await page.getByText("Nothing unread.").waitFor();
  await connected(world);
  for (const raw of ["", "{", "null", "[]", '{"channel":"notifications"}', "x".repeat(1 << 20)]) {
    world.server.signals.sendRaw(raw);
  }
  world.server.post(ADA, { payload: { title: "still here" } });
  await expectTitles(page, ["still here"]);
});

test("the page and its sidebar share one connection", async () => {
  const page = await world.open();
  await page.getByText("Nothing unread.").waitFor();
  await connected(world);
  expect(world.server.signals.accepted).toBe(1);
});

test("a refresh that fails leaves what is there, and says so", async () => {
  post(world, titled("a"));
  const page = await world.open();
  await expectTitles(page, ["a"]);
  await connected(world);
  world.server.fail({ method: "GET", path: "/notifications", answer: 503, times: 1000 });
  world.server.signals.publish(ADA, { action: "notification_read", notification_ids: [] });
  await page.getByRole("alert").getByText("could not be loaded").waitFor();
  await rowOf(page, "a").waitFor();
});

test("a slow server is not asked again before it answered, and what it says is shown", async () => {
  const page = await world.open();
  await page.getByText("Nothing unread.").waitFor();
  await connected(world);
  world.server.delay = 3000; // Longer than the two seconds between refreshes.
  const heading = page.locator("notifications-page #heading");
  while ((await heading.innerText()) === "Unread notifications (0)") {
    world.server.post(ADA, { payload: { title: "n" } }); // While signals go on coming.
    await page.waitForTimeout(250);
  }
  expect(world.server.mostListsAtOnce).toBe(1);
});
