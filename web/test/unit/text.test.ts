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
    expect(cut(`a${"\u0301".repeat(1 << 20)}`, 255).length).toBeLessThanOrEqual(255 * 8 + 1);
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
