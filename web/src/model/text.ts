/** Texts as they are shown: never longer than is good for the page. */

/** Most that is shown of a title, a topic or an origin; the API takes no longer ones. */
export const LINE_LENGTH = 255;

/** Most that is shown of a description; the API takes no longer ones. */
export const TEXT_LENGTH = 32 * 1024;

const ELLIPSIS = "…";

/** Return a text of at most some characters, cut with an ellipsis, never amid a character. */
export function cut(text: string, length: number): string {
  if (text.length <= length) {
    return text;
  }
  // No character is longer than some code units: a megabyte need not be taken apart for a line.
  const characters = [...segments(text.slice(0, length * 8))];
  return characters.length <= length && text.length <= length * 8
    ? text
    : characters.slice(0, length - 1).join("").trimEnd() + ELLIPSIS;
}

/** Return how an id is called where nobody named it: `plugin:my-app` is `Plugin my app`. */
export function nameOf(id: string, names: Readonly<Record<string, string>> = {}): string {
  if (Object.hasOwn(names, id)) {
    return names[id]!;
  }
  const words = id.replaceAll(/[-_:]/g, " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Return a number as a badge shows it. */
export function badge(count: number): string {
  return count > 99 ? "99+" : String(count);
}

const segmenter = new Intl.Segmenter("en", { granularity: "grapheme" });

function* segments(text: string): Iterable<string> {
  for (const { segment } of segmenter.segment(text)) {
    yield segment;
  }
}
