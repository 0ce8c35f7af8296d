import { describe, expect, test, vi } from "vitest";
import type { SettingsMatrix } from "../../src/api/types";
import { isEnabled, originRows, SettingsEditor, withSwitch } from "../../src/model/settings";

const MATRIX: SettingsMatrix = {
  channels: [
    {
      id: "Web",
      origins: [
        {
          id: "plugin:b",
          enabled: true,
          topics: [
            { id: "t2", enabled: false },
            { id: "t1", enabled: true },
          ],
        },
        { id: "plugin:a", enabled: false, topics: [] },
      ],
    },
    { id: "Email", enabled: false, origins: [{ id: "plugin:b", enabled: true }] },
  ],
};

test("rows are all origins, with all their topics, in order", () => {
  expect(originRows(MATRIX)).toEqual([
    { id: "plugin:a", topics: [] },
    { id: "plugin:b", topics: ["t1", "t2"] },
  ]);
});

test.each([
  ["Web", "plugin:b", null, true],
  ["Web", "plugin:b", "t2", false],
  ["Web", "plugin:b", "unknown", true],
  ["Web", "plugin:a", null, false],
  ["Web", "plugin:new", null, true],
  ["Email", "plugin:a", null, false],
  ["Other", "plugin:a", null, true],
])("%s, %s, %s: %s", (channel, origin, topic, expected) => {
  expect(isEnabled(MATRIX, channel, origin, topic)).toBe(expected);
});

describe("a switch", () => {
  test("of an origin sets its topics, and nothing else", () => {
    const changed = withSwitch(MATRIX, "Web", "plugin:b", null, false);
    expect(isEnabled(changed, "Web", "plugin:b", null)).toBe(false);
    expect(isEnabled(changed, "Web", "plugin:b", "t1")).toBe(false);
    expect(isEnabled(changed, "Email", "plugin:b", null)).toBe(true);
    expect(changed.channels[0]!.origins[1]).toBe(MATRIX.channels[0]!.origins[1]);
    expect(isEnabled(MATRIX, "Web", "plugin:b", "t1")).toBe(true);
  });

  test("of a topic leaves its siblings and its origin", () => {
    const changed = withSwitch(MATRIX, "Web", "plugin:b", "t2", true);
    expect(isEnabled(changed, "Web", "plugin:b", "t2")).toBe(true);
    expect(isEnabled(changed, "Web", "plugin:b", "t1")).toBe(true);
    expect(isEnabled(changed, "Web", "plugin:b", null)).toBe(true);
  });

  test("of an origin that the channel did not name is added", () => {
    const changed = withSwitch(MATRIX, "Email", "plugin:a", null, true);
    expect(isEnabled(changed, "Email", "plugin:a", null)).toBe(true);
    expect(changed.channels[1]!.enabled).toBe(false);
  });
});

describe("the editor", () => {
  function deferred(): {
    save: (matrix: SettingsMatrix) => Promise<SettingsMatrix>;
    saves: { matrix: SettingsMatrix; accept: () => void; refuse: () => void }[];
  } {
    const saves: { matrix: SettingsMatrix; accept: () => void; refuse: () => void }[] = [];
    const save = (matrix: SettingsMatrix): Promise<SettingsMatrix> =>
      new Promise((resolve, reject) =>
        saves.push({
          matrix,
          accept: () => resolve(structuredClone(matrix)),
          refuse: () => reject(new Error("no")),
        }),
      );
    return { save, saves };
  }

  test("shows a change at once and saves the whole matrix", async () => {
    const { save, saves } = deferred();
    const editor = new SettingsEditor(MATRIX, save, vi.fn());
    const toggled = editor.toggle("Web", "plugin:b", "t1", false);
    expect(isEnabled(editor.shown, "Web", "plugin:b", "t1")).toBe(false);
    expect(editor.saving).toBe(true);
    expect(saves[0]!.matrix.channels).toHaveLength(2);
    saves[0]!.accept();
    await toggled;
    expect(editor.saving).toBe(false);
    expect(isEnabled(editor.shown, "Web", "plugin:b", "t1")).toBe(false);
    expect(editor.error).toBeNull();
  });

  test("takes a change back that could not be saved, and says why", async () => {
    const { save, saves } = deferred();
    const editor = new SettingsEditor(MATRIX, save, vi.fn());
    const toggled = editor.toggle("Web", "plugin:b", "t1", false);
    saves[0]!.refuse();
    await toggled;
    expect(editor.shown).toBe(MATRIX);
    expect(editor.error).toBe("no");
  });

  test("saves one after the other; what was toggled meanwhile goes in one", async () => {
    const { save, saves } = deferred();
    const editor = new SettingsEditor(MATRIX, save, vi.fn());
    const first = editor.toggle("Web", "plugin:b", "t1", false);
    await editor.toggle("Web", "plugin:b", "t2", true);
    await editor.toggle("Email", "plugin:a", null, true);
    expect(saves).toHaveLength(1);
    saves[0]!.accept();
    await vi.waitFor(() => expect(saves).toHaveLength(2));
    expect(isEnabled(editor.shown, "Web", "plugin:b", "t2")).toBe(true);
    saves[1]!.accept();
    await first;
    expect(saves).toHaveLength(2);
    for (const [channel, origin, topic, enabled] of [
      ["Web", "plugin:b", "t1", false],
      ["Web", "plugin:b", "t2", true],
      ["Email", "plugin:a", null, true],
    ] as const) {
      expect(isEnabled(editor.shown, channel, origin, topic)).toBe(enabled);
    }
  });

  test("a second save that fails leaves the first", async () => {
    const { save, saves } = deferred();
    const editor = new SettingsEditor(MATRIX, save, vi.fn());
    const first = editor.toggle("Web", "plugin:b", "t1", false);
    await editor.toggle("Web", "plugin:b", "t2", true);
    saves[0]!.accept();
    await vi.waitFor(() => expect(saves).toHaveLength(2));
    saves[1]!.refuse();
    await first;
    expect(isEnabled(editor.shown, "Web", "plugin:b", "t1")).toBe(false);
    expect(isEnabled(editor.shown, "Web", "plugin:b", "t2")).toBe(false);
    expect(editor.error).toBe("no");
  });
});
