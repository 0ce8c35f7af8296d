/** Pages of a list. */

/** Return how many pages there are; an empty list has one. */
export function pageCount(total: number, size: number): number {
  return Math.max(1, Math.ceil(total / size));
}

/**
 * Return the pages to offer: the first, the last, the current one and its neighbours; `null` stands
 * for those left out between.
 */
export function pagesToOffer(current: number, count: number): (number | null)[] {
  const offered = [...new Set([0, current - 1, current, current + 1, count - 1])]
    .filter((page) => page >= 0 && page < count)
    .sort((a, b) => a - b);
  return offered.flatMap((page, index) => {
    const gap = index === 0 ? 1 : page - offered[index - 1]!;
    if (gap === 2) {
      return [page - 1, page]; // An ellipsis for one page takes its place and says less.
    }
    return gap > 2 ? [null, page] : [page];
  });
}
