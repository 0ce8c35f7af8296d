import { describe, expect, test } from "vitest";
import { badge, cut, nameOf } from "../../src/model/text";
import { titleWith } from "../../src/model/title-counter";

describe("cut", () => {
  test.each([
    ["", 5, ""],
    ["short", 5, "short"],
    ["longer", 5, "long…"],
    ["a b c d", 4, "a b…"],
    ["a   bcd", 4, "a…"],
  ])("%j to %i is %j", (text, length, expected) => {
    expect(cut(text, length)).toBe(expected);
  });

  test("characters are counted, and never cut through", () => {
    const family = "👩‍👩‍👧‍👦";
    expect(cut(family.repeat(3), 3)).toBe(family.repeat(3));
    expect(cut(family.repeat(4), 3)).toBe(`${family.repeat(2)}…`);
    expect(cut("ä".normalize("NFD").repeat(3), 2)).toBe(`${"ä".normalize("NFD")}…`);
  });

  test("a megabyte becomes a line, whatever it consists of", () => {
    expect(cut("x".repeat(1 << 20), 255)).toHaveLength(255);
    // One character with a million marks on it.
    expect(cut(`a${"\u0301".repeat(1 << 20)}`, 255).length).toBeLessThanOrEqual(255 * 32);
  });
});

describe("directions", () => {
  const [LRE, RLO, PDF, RLI, FSI, PDI] = [..."\u202a\u202e\u202c\u2067\u2068\u2069"];

  test.each([
    [
      "left alone if they are closed",
      `a${RLO}b${PDF}c${RLI}d${PDI}`,
      `a${RLO}b${PDF}c${RLI}d${PDI}`,
    ],
    ["closed, the last first", `${RLO}${RLI}x`, `${RLO}${RLI}x${PDI}${PDF}`],
    ["not closed for others", `${PDI}${PDF}x${PDI}`, "x"],
    [
      "closed along with an isolate around them",
      `${FSI}${LRE}x${PDI}y`,
      `${FSI}${LRE}x${PDF}${PDI}y`,
    ],
    ["not closed from within an isolate", `${RLO}${RLI}x${PDF}`, `${RLO}${RLI}x${PDI}${PDF}`],
    ["closed at the end of a line", `${RLO}a\nb${PDF}`, `${RLO}a${PDF}\nb`],
  ])("%s", (_, text, expected) => {
    expect(cut(text, 255)).toBe(expected);
  });

  test("are closed where a text is cut", () => {
    expect(cut(`${RLO}abcdef${PDF}`, 4)).toMatch(new RegExp(`^${RLO}.*…${PDF}$`));
  });
});

test.each([
  ["plugin:scaffolder", "Plugin scaffolder"],
  ["my-app_topic", "My app topic"],
  ["", ""],
  ["constructor", "Constructor"],
])("%j is called %j", (id, expected) => {
  expect(nameOf(id)).toBe(expected);
});

test("names that are given are used as they are", () => {
  expect(nameOf("plugin:x", { "plugin:x": "the X" })).toBe("the X");
});

test.each([
  [0, "0"],
  [99, "99"],
  [100, "99+"],
])("a badge for %i says %s", (count, expected) => {
  expect(badge(count)).toBe(expected);
});

test.each([
  [3, "Catalog", "(3) Catalog"],
  [4, "(3) Catalog", "(4) Catalog"],
  [0, "(3) Catalog", "Catalog"],
  [0, "(draft) Catalog", "(draft) Catalog"],
])("the title for %i unread and %j is %j", (count, title, expected) => {
  expect(titleWith(count, title)).toBe(expected);
});
