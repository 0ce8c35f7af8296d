/** Calls an action at most once in an interval; the last call is never lost. */
export class Throttle {
  #timer: ReturnType<typeof setTimeout> | undefined;
  #pending = false;

  constructor(
    private readonly action: () => void,
    /** In milliseconds. */
    private readonly interval: number,
    /** Whether the first call is carried out at once, or at the end of its interval. */
    private readonly leading: boolean = true,
  ) {}

  call(): void {
    if (this.#timer !== undefined) {
      this.#pending = true;
      return;
    }
    this.#pending = !this.leading;
    this.#wait();
    if (this.leading) {
      this.action();
    }
  }

  /** Carry out now what waits. */
  flush(): void {
    if (this.#pending) {
      this.cancel();
      this.action();
    }
  }

  cancel(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#pending = false;
  }

  #wait(): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#pending) {
        this.#pending = false;
        this.#wait();
        this.action();
      }
    }, this.interval);
  }
}

/** Carries out an action that takes a while: never twice at a time, and anew if called meanwhile. */
export class Coalesced {
  #running = false;
  #again = false;

  constructor(private readonly action: () => Promise<unknown>) {}

  async call(): Promise<void> {
    if (this.#running) {
      this.#again = true; // Giving up the one under way could go on for ever.
      return;
    }
    this.#running = true;
    try {
      do {
        this.#again = false;
        await this.action();
      } while (this.#again);
    } finally {
      this.#running = false;
    }
  }
}
