/** The number of unread notifications before the document's title: `(3) Catalog`. */

const PREFIX = /^\(\d+\+?\) /;

export class TitleCounter {
  #count = 0;
  #observer: MutationObserver | null = null;

  constructor(private readonly target: Document) {}

  /** Show a number; 0 shows none. */
  show(count: number): void {
    this.#count = count;
    if (this.#observer === null) {
      // Applications change their title as one moves about in them.
      this.#observer = new MutationObserver(() => this.#write());
      this.#observer.observe(this.target.head, {
        childList: true,
        subtree: true,
        characterData: true,
      });
    }
    this.#write();
  }

  /** Leave the title as it is without us. */
  remove(): void {
    this.#observer?.disconnect();
    this.#observer = null;
    this.#count = 0;
    this.#write();
  }

  #write(): void {
    const title = titleWith(this.#count, this.target.title);
    if (title !== this.target.title) {
      this.target.title = title;
    }
  }
}

/** Return a title with the number before it, instead of another that may be there. */
export function titleWith(count: number, title: string): string {
  const bare = title.replace(PREFIX, "");
  return count > 0 ? `(${count}) ${bare}` : bare;
}
