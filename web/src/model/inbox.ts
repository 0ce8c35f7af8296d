/** What the page shows, and the requests that bring it: the newest state wins, whatever comes late. */

import type { NotificationsClient } from "../api/client";
import { isAborted, isNotFound } from "../api/errors";
import type { InboxNotification, Status } from "../api/types";
import { pageCount } from "./paging";
import { listQuery, topicsQuery, viewFor, type ViewState } from "./view";

type Client = Pick<NotificationsClient, "list" | "get" | "status" | "topics">;

export interface Linked {
  id: string;
  /** `null`: there is none of this id, or it is not this user's. */
  notification: InboxNotification | null;
}

export class Inbox {
  /** The state that all the rest belongs to; `null` until something was loaded. */
  shown: ViewState | null = null;
  /** Those of the page, in the order of the server. */
  notifications: readonly InboxNotification[] = [];
  totalCount = 0;
  topics: readonly string[] = [];
  status: Status | null = null;
  /** The notification that the URL names. */
  linked: Linked | null = null;
  loading = false;
  /** Why the last load failed. */
  error: unknown = null;
  #abort = new AbortController();

  constructor(
    private readonly client: Client,
    private readonly changed: () => void,
    private readonly now: () => Date = () => new Date(),
  ) {}

  /** What to show: the linked notification comes first if the page does not have it. */
  get rows(): readonly InboxNotification[] {
    const linked = this.linked?.notification;
    return linked && !this.notifications.some(({ id }) => id === linked.id)
      ? [linked, ...this.notifications]
      : this.notifications;
  }

  /**
   * Load what a state says, instead of whatever is being loaded.
   *
   * @returns the state that is shown now, which can differ: a page beyond the end becomes the last
   *   one, and a link that was not followed yet chooses its view. `null` if another load came first,
   *   or it failed.
   */
  async load(state: ViewState): Promise<ViewState | null> {
    this.#abort.abort();
    const abort = (this.#abort = new AbortController());
    this.loading = true;
    this.changed();
    try {
      const shown = await this.#load(state, abort.signal);
      this.error = null;
      return shown;
    } catch (error) {
      if (abort.signal.aborted || isAborted(error)) {
        return null;
      }
      this.error = error;
      return null;
    } finally {
      if (this.#abort === abort) {
        this.loading = false;
        this.changed();
      }
    }
  }

  /** Stop what is under way. */
  stop(): void {
    this.#abort.abort();
  }

  async #load(wanted: ViewState, signal: AbortSignal): Promise<ViewState> {
    const linked = wanted.id === null ? null : await this.#follow(wanted.id, signal);
    let state = wanted;
    if (linked?.notification && linked.id !== this.linked?.id) {
      state = { ...wanted, view: viewFor(linked.notification, wanted.view) };
    }
    const [page, topics, status] = await Promise.all([
      this.client.list(listQuery(state, this.now()), signal),
      this.client.topics(topicsQuery(state, this.now()), signal),
      this.client.status(signal),
    ]);
    const last = pageCount(page.totalCount, state.pageSize) - 1;
    if (state.page > last) {
      return this.#load({ ...state, page: last }, signal);
    }
    signal.throwIfAborted();
    this.shown = state;
    this.notifications = page.notifications;
    this.totalCount = page.totalCount;
    this.topics = topics;
    this.status = status;
    this.linked = linked;
    return state;
  }

  async #follow(id: string, signal: AbortSignal): Promise<Linked> {
    try {
      return { id, notification: await this.client.get(id, signal) };
    } catch (error) {
      if (isNotFound(error)) {
        return { id, notification: null };
      }
      throw error;
    }
  }
}
