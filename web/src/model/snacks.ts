/** New notifications that are shown for a while, at the edge of the window. */

import type { InboxNotification } from "../api/types";

export const TITLE_LENGTH = 50;

export interface SnackbarOptions {
  enabled: boolean;
  /** In milliseconds; `null`: until somebody closes it. */
  autoHideDuration: number | null;
  anchorOrigin: { vertical: "top" | "bottom"; horizontal: "left" | "center" | "right" };
  dense: boolean;
  /** Most that are shown at a time; the oldest goes. */
  maxSnack: number;
  /** Icons by severity, instead of those that notifications have: paths in a box of 24 by 24. */
  iconVariant: Readonly<Record<string, string>>;
}

/** What upstream's `snackbarProps` can say; the rest is as the older properties say. */
export function snackbarOptions(
  given: Partial<SnackbarOptions> | null,
  enabled: boolean,
  autoHideDuration: number | null,
): SnackbarOptions {
  return {
    enabled,
    autoHideDuration,
    anchorOrigin: { vertical: "bottom", horizontal: "right" },
    dense: false,
    maxSnack: 3,
    iconVariant: {},
    ...given,
  };
}

export class Snacks {
  #items: readonly InboxNotification[] = [];
  readonly #timers = new Map<string, ReturnType<typeof setTimeout>>();
  #paused = false;
  #duration: number | null = null;

  constructor(private readonly changed: () => void) {}

  get items(): readonly InboxNotification[] {
    return this.#items;
  }

  /** Show one more; one of the same id is replaced. */
  add(notification: InboxNotification, options: SnackbarOptions): void {
    this.#duration = options.autoHideDuration || null; // 0 is not a time to read anything in.
    const others = this.#items.filter(({ id }) => id !== notification.id);
    const items = [...others, notification];
    for (const { id } of items.splice(0, items.length - Math.max(1, options.maxSnack))) {
      this.#forget(id);
    }
    this.#items = items;
    this.#forget(notification.id);
    this.#schedule(notification.id);
    this.changed();
  }

  remove(ids: readonly string[]): void {
    const left = this.#items.filter(({ id }) => !ids.includes(id));
    ids.forEach((id) => this.#forget(id));
    if (left.length !== this.#items.length) {
      this.#items = left;
      this.#paused &&= left.length > 0; // What is gone is not left by anybody.
      this.changed();
    }
  }

  clear(): void {
    this.remove(this.#items.map(({ id }) => id));
  }

  /** Keep all of them, while somebody points at them or has the focus there (WCAG 2.2.1). */
  pause(): void {
    this.#paused = true;
    this.#items.forEach(({ id }) => this.#forget(id));
  }

  resume(): void {
    this.#paused = false;
    this.#items.forEach(({ id }) => this.#schedule(id));
  }

  #schedule(id: string): void {
    if (this.#duration !== null && !this.#paused && !this.#timers.has(id)) {
      this.#timers.set(
        id,
        setTimeout(() => this.remove([id]), this.#duration),
      );
    }
  }

  #forget(id: string): void {
    clearTimeout(this.#timers.get(id));
    this.#timers.delete(id);
  }
}
