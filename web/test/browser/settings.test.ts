import { beforeEach, expect, test } from "vitest";
import { ADA, useWorld } from "./support";

const world = useWorld();

beforeEach(() => {
  world.server.matrix = {
    channels: [
      {
        id: "Web",
        origins: [
          {
            id: "plugin:scaffolder",
            enabled: true,
            topics: [
              { id: "build-failed", enabled: true },
              { id: "done", enabled: false },
            ],
          },
          { id: "ci", enabled: true },
        ],
      },
      {
        id: "Email",
        enabled: false,
        origins: [{ id: "plugin:scaffolder", enabled: false, topics: [] }],
      },
    ],
  };
});

async function open() {
  const page = await world.open("/#settings");
  await page.getByRole("heading", { name: "Notification settings" }).waitFor();
  await page.getByRole("switch").first().waitFor();
  return page;
}

test("shows origins and topics by name, and what is on", async () => {
  world.server.config = { originNames: { ci: "The CI" }, topicNames: { done: "All done" } };
  const page = await open();
  const web = page.getByRole("switch", { name: "Plugin scaffolder: Web", exact: true });
  expect(await web.isChecked()).toBe(true);
  expect(await page.getByRole("switch", { name: "The CI: Web" }).isChecked()).toBe(true);
  // The channel's own default, where the origin is not named.
  expect(await page.getByRole("switch", { name: "The CI: Email" }).isChecked()).toBe(false);
  expect(await page.getByRole("switch").count()).toBe(4);
  await page.getByRole("button", { name: "Plugin scaffolder" }).click();
  await page.getByRole("switch", { name: "Plugin scaffolder, Build failed: Web" }).waitFor();
  expect(
    await page.getByRole("switch", { name: "Plugin scaffolder, All done: Web" }).isChecked(),
  ).toBe(false);
  await page.getByRole("button", { name: "Plugin scaffolder" }).click();
  await expect.poll(() => page.getByRole("switch").count()).toBe(4);
});

test("a switch saves the whole matrix at once", async () => {
  const page = await open();
  await page.getByRole("switch", { name: "Ci: Web" }).uncheck();
  await expect.poll(() => world.server.store.settings.has(ADA)).toBe(true);
  expect(world.server.requestsTo("POST", "/settings")).toHaveLength(1);
  const saved = world.server.store.settings.get(ADA)!;
  expect(saved.channels.map(({ id }) => id)).toEqual(["Web", "Email"]);
  expect(saved.channels[0]!.origins.find(({ id }) => id === "ci")!.enabled).toBe(false);
  expect(saved.channels[0]!.origins[0]).toEqual(world.server.matrix.channels[0]!.origins[0]);
  await page.reload();
  await expect.poll(() => page.getByRole("switch", { name: "Ci: Web" }).isChecked()).toBe(false);
});

test("an origin that is off takes its topics along", async () => {
  const page = await open();
  await page.getByRole("button", { name: "Plugin scaffolder" }).click();
  const topic = page.getByRole("switch", { name: "Plugin scaffolder, Build failed: Web" });
  await page.getByRole("switch", { name: "Plugin scaffolder: Web", exact: true }).uncheck();
  await expect.poll(() => topic.isChecked()).toBe(false);
  expect(await topic.isDisabled()).toBe(true);
  await page.getByRole("switch", { name: "Plugin scaffolder: Web", exact: true }).check();
  await expect.poll(() => topic.isChecked()).toBe(true);
  await topic.uncheck();
  await expect
    .poll(() => world.server.store.settings.get(ADA)?.channels[0]!.origins[0]!.topics)
    .toEqual([
      { id: "build-failed", enabled: false },
      { id: "done", enabled: true },
    ]);
});

test("what cannot be saved is taken back, and said", async () => {
  const page = await open();
  world.server.fail({ method: "POST", path: "/settings", answer: 500 });
  const web = page.getByRole("switch", { name: "Ci: Web" });
  await web.click();
  await page.getByRole("alert").getByText("as before: as the test wants it").waitFor();
  expect(await web.isChecked()).toBe(true);
  await web.uncheck();
  await expect.poll(() => page.getByRole("alert").count()).toBe(0);
  await expect.poll(() => world.server.store.settings.get(ADA) !== undefined).toBe(true);
});

test("switches in quick succession all count", async () => {
  world.server.delay = 200;
  const page = await open();
  await page.getByRole("switch", { name: "Ci: Web" }).uncheck();
  await page.getByRole("switch", { name: "Ci: Email" }).check();
  await page.getByRole("switch", { name: "Plugin scaffolder: Email", exact: true }).check();
  await expect
    .poll(() =>
      world.server.store.settings
        .get(ADA)
        ?.channels.flatMap(({ id, origins }) =>
          origins.map((origin) => `${id} ${origin.id} ${origin.enabled}`),
        ),
    )
    .toEqual([
      "Web plugin:scaffolder true",
      "Web ci false",
      "Email plugin:scaffolder true",
      "Email ci true",
    ]);
});

test("nothing to set, and errors, are said", async () => {
  world.server.matrix = { channels: [{ id: "Web", origins: [] }] };
  world.server.fail({ method: "GET", path: "/settings", answer: 503 });
  const page = await world.open("/#settings");
  await page.getByRole("alert").getByText("could not be loaded").waitFor();
  await page.getByRole("button", { name: "Try again" }).click();
  await page.getByText("There is nothing to set yet").waitFor();
});

test("the way there and back", async () => {
  const page = await world.open("/?view=saved");
  await page.getByText("Nothing is saved.").waitFor();
  await page.getByRole("link", { name: "Settings" }).click();
  await page.getByRole("switch").first().waitFor();
  await page.getByRole("link", { name: "Notifications" }).click();
  await page.getByText("Nothing is saved.").waitFor();
});
