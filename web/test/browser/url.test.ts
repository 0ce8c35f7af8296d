import { expect, test } from "vitest";
import {
  expectHeading,
  expectQuery,
  expectTitles,
  numbered,
  post,
  rowOf,
  titled,
  useWorld,
} from "./support";

const world = useWorld();

test("filters are kept in the URL, and read from it", async () => {
  post(world, [
    ...numbered(6, "Build"),
    { payload: { title: "Deploy", topic: "deploys", severity: "high" } },
  ]);
  const page = await world.open();
  await expectHeading(page, "Unread notifications (7)");
  await expectQuery(page, {});
  await page.getByLabel("Search").fill("Deploy");
  await page.getByLabel("Min severity").selectOption("High");
  await page.getByLabel("Topic", { exact: true }).selectOption("deploys");
  await page.getByRole("button", { name: "All", exact: true }).click();
  await page.getByLabel("Rows per page").selectOption("50");
  await expectTitles(page, ["Deploy"]);
  await expectQuery(page, {
    view: "all",
    severity: "high",
    topic: "deploys",
    search: "Deploy",
    size: "50",
  });

  await page.reload();
  await expectHeading(page, "All notifications (1)");
  expect(await page.getByLabel("Search").inputValue()).toBe("Deploy");
  expect(await page.getByLabel("Topic", { exact: true }).inputValue()).toBe("deploys");
  expect(await page.getByLabel("Rows per page").inputValue()).toBe("50");
});

test("the back and forward buttons go through what was chosen", async () => {
  post(world, [...numbered(6), { payload: { title: "read" }, read: true }]);
  const page = await world.open("/?tab=mine");
  await expectHeading(page, "Unread notifications (6)");
  await page.getByRole("button", { name: "Page 2" }).click();
  await expectTitles(page, ["Notification 1"]);
  await page.getByRole("button", { name: "Read", exact: true }).click();
  await expectTitles(page, ["read"]);
  await page.goBack();
  await expectHeading(page, "Unread notifications (6)");
  await expectTitles(page, ["Notification 1"]);
  await page.goBack();
  await expectQuery(page, { tab: "mine" });
  await page.getByText("1–5 of 6").waitFor();
  await page.goForward();
  await expectTitles(page, ["Notification 1"]);
});

test("back from a search leads to before it, not through its letters", async () => {
  post(world, titled("abc", "xyz"));
  const page = await world.open();
  await expectTitles(page, ["xyz", "abc"]);
  for (const [text, count] of [
    ["a", 1],
    ["ab", 1],
    ["abc", 1],
    ["abcd", 0],
  ] as const) {
    await page.getByLabel("Search").fill(text);
    await expectQuery(page, { search: text });
    await expectHeading(page, `Unread notifications (${count})`);
  }
  await page.goBack();
  await expectTitles(page, ["xyz", "abc"]);
  expect(await page.getByLabel("Search").inputValue()).toBe("");
});

test("nonsense in the URL is as if it were not there", async () => {
  post(world, titled("a"));
  const page = await world.open("/?view=%00&page=-3&size=1e9&severity=%3Cscript%3E&sort=id");
  await expectHeading(page, "Unread notifications (1)");
});

test("a hand-made URL beyond the last page shows the last page", async () => {
  post(world, numbered(7));
  const page = await world.open("/?page=4000");
  await expectTitles(page, ["Notification 2", "Notification 1"]);
  await expectQuery(page, { page: "2" });
});

test("a link to a notification shows it first, chosen and in sight", async () => {
  const stored = post(world, [
    { payload: { title: "wanted" }, read: true },
    ...numbered(8).map((item) => ({ ...item, read: true })),
  ]);
  const page = await world.open(`/?id=${stored[0]!.id}`);
  await expectHeading(page, "Read notifications (9)");
  expect(await page.locator("li.row").count()).toBe(6); // They come with the heading.
  const row = rowOf(page, "wanted");
  expect(await row.getAttribute("data-index")).toBe("0");
  expect(await row.getAttribute("aria-current")).toBe("true");
  await expect.poll(() => row.evaluate((element) => element.matches(":focus"))).toBe(true);
  await expectQuery(page, { view: "read", id: stored[0]!.id });

  await page.getByRole("button", { name: "All", exact: true }).click();
  await expectHeading(page, "All notifications (9)");
  await expectQuery(page, { view: "all" });
  expect(await page.locator("li.row").count()).toBe(5);
});

test("a link to one on the page shows it where it is", async () => {
  const stored = post(world, titled("a", "b", "c"));
  const page = await world.open(`/?id=${stored[1]!.id}`);
  await expectTitles(page, ["c", "b", "a"]);
  expect(await rowOf(page, "b").getAttribute("aria-current")).toBe("true");
});

test.each(["no-uuid", "../status", "00000000-0000-4000-8000-000000000000"])(
  "a link to %s, which is not there, says so and shows the rest",
  async (id) => {
    post(world, titled("a"));
    const page = await world.open(`/?id=${encodeURIComponent(id)}`);
    await page.getByText("is not there").waitFor();
    await expectTitles(page, ["a"]);
  },
);
