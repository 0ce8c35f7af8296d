/** Texts as they are shown: never longer than is good for the page. */

/** Most that is shown of a title, a topic or an origin; the API takes no longer ones. */
export const LINE_LENGTH = 255;

/** Most that is shown of a description; the API takes no longer ones. */
export const TEXT_LENGTH = 32 * 1024;

const ELLIPSIS = "…";

/** Most code units of a character, on the average: some letters carry a million marks. */
const UNITS_PER_CHARACTER = 32;

const segmenter = new Intl.Segmenter("en", { granularity: "grapheme" });

/**
 * Return a text to be shown beside others: of at most some characters, cut with an ellipsis, never
 * amid a character; and without effect on the direction of what follows it.
 */
export function cut(text: string, length: number): string {
  return selfContained(shortened(text, length));
}

function shortened(text: string, length: number): string {
  if (text.length <= length) {
    return text;
  }
  let count = 0;
  let end = 0;
  let beforeLast = 0;
  for (const { segment } of segmenter.segment(text)) {
    if (count === length || end + segment.length > length * UNITS_PER_CHARACTER) {
      return text.slice(0, count === length ? beforeLast : end).trimEnd() + ELLIPSIS;
    }
    beforeLast = end;
    end += segment.length;
    count += 1;
  }
  return text;
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

/** Explicit formatting (UAX 9 section 2), and the ends of paragraphs, which end it. */
const BIDI = /[\u202a-\u202e\u2066-\u2069\n\u2029]/g;
const POP_DIRECTIONAL_FORMATTING = "\u202c";
const POP_DIRECTIONAL_ISOLATE = "\u2069";

/**
 * Close what is opened and drop what closes something else. Isolation by CSS is not enough: it is
 * made of the same characters, and one too many in the text ends it.
 */
function selfContained(text: string): string {
  const open: string[] = [];
  const close = (count = open.length): string =>
    open
      .splice(open.length - count)
      .reverse()
      .join("");
  const balanced = text.replace(BIDI, (character) => {
    switch (character) {
      case "\n":
      case "\u2029":
        return close() + character;
      case POP_DIRECTIONAL_FORMATTING:
        return open.at(-1) === character ? open.pop()! : "";
      case POP_DIRECTIONAL_ISOLATE: {
        const opened = open.lastIndexOf(character);
        return opened === -1 ? "" : close(open.length - opened);
      }
      case "\u2066":
      case "\u2067":
      case "\u2068":
        open.push(POP_DIRECTIONAL_ISOLATE);
        return character;
      default:
        open.push(POP_DIRECTIONAL_FORMATTING);
        return character;
    }
  });
  return balanced + close();
}
