/** `<notifications-page>`: what a user was told, to read, find, save and be done with. */

import { html, nothing, type PropertyValues, type TemplateResult } from "lit";
import { repeat } from "lit/directives/repeat.js";
import { describe, isUnauthenticated } from "../../api/errors";
import type { InboxNotification, Update } from "../../api/types";
import type { IconPaths } from "../../model/icons";
import { Inbox } from "../../model/inbox";
import { pageCount } from "../../model/paging";
import { Coalesced, Throttle } from "../../model/throttle";
import { INITIAL, isFiltered, readView, writeView, type ViewState } from "../../model/view";
import { jsonAttribute, switchAttribute } from "../attributes";
import { ConnectedElement } from "../connected-element";
import { baseStyles } from "../styles";
import { filters } from "./filters";
import { EMPTY, notifications, readDone, savedDone, VIEW_LABELS } from "./labels";
import { pager } from "./pager";
import { row } from "./row";
import { pageStyles } from "./styles";
import { toolbar } from "./toolbar";

const SEARCH_INTERVAL = 500;
const CLOCK_INTERVAL = 60_000;

export class NotificationsPage extends ConnectedElement {
  static override styles = [baseStyles, pageStyles];

  static override properties = {
    pageTitle: { attribute: "page-title" },
    pageSubtitle: { attribute: "page-subtitle" },
    markAsReadOnLinkOpen: { attribute: "mark-as-read-on-link-open", converter: switchAttribute },
    ignoreUrl: { attribute: "ignore-url", converter: switchAttribute },
    icons: { converter: jsonAttribute },
    state: { state: true },
    searchText: { state: true },
    selected: { state: true },
    expanded: { state: true },
    announcement: { state: true },
    actionError: { state: true },
  };

  declare pageTitle: string;
  declare pageSubtitle: string;
  declare markAsReadOnLinkOpen: boolean;
  /** Do not keep the filters in the document's URL: for hosts that route by it themselves. */
  declare ignoreUrl: boolean;
  /** More icons for `payload.icon`: id to the path of an outline in a box of 24 by 24. */
  declare icons: IconPaths | null;
  declare protected state: ViewState;
  declare protected searchText: string;
  declare protected selected: ReadonlySet<string>;
  declare protected expanded: ReadonlySet<string>;
  declare protected announcement: string;
  declare protected actionError: string | null;

  #inbox: Inbox | null = null;
  #clock: ReturnType<typeof setInterval> | undefined;
  /** The row that had the focus before a rendering, and on what. */
  #focused: { index: number; action: string } | null = null;
  /** The linked notification to which the user was not taken yet. */
  #toReveal: string | null = null;
  /** Whether the user was not told yet what came of a choice. */
  #toAnnounce = false;
  readonly #refreshing = new Coalesced(() => this.#load(this.state));
  readonly #search = new Throttle(() => this.#searchNow(), SEARCH_INTERVAL, false);

  constructor() {
    super();
    this.pageTitle = "Notifications";
    this.pageSubtitle = "";
    this.markAsReadOnLinkOpen = false;
    this.ignoreUrl = false;
    this.icons = null;
    this.state = INITIAL;
    this.searchText = "";
    this.selected = new Set();
    this.expanded = new Set();
    this.announcement = "";
    this.actionError = null;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    window.addEventListener("popstate", this.#moved);
    this.#clock = setInterval(() => this.requestUpdate(), CLOCK_INTERVAL);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    window.removeEventListener("popstate", this.#moved);
    clearInterval(this.#clock);
    this.#search.cancel();
    this.#inbox?.stop();
  }

  protected override connect(): Promise<unknown> {
    this.#inbox?.stop();
    this.#inbox = new Inbox(this.client, () => this.requestUpdate());
    return this.ignoreUrl ? this.#load(this.state) : this.#readUrl();
  }

  protected override refresh(): void {
    void this.#refreshing.call();
  }

  #readUrl(): Promise<void> {
    this.state = readView(new URLSearchParams(location.search));
    this.#search.cancel();
    this.searchText = this.state.search;
    this.#toReveal = this.state.id;
    this.selected = new Set();
    return this.#load(this.state);
  }

  readonly #moved = (): void => {
    if (!this.ignoreUrl) {
      void this.#readUrl();
    }
  };

  #writeUrl(replace: boolean): void {
    if (this.ignoreUrl) {
      return;
    }
    const url = new URL(location.href);
    url.search = writeView(this.state, url.searchParams).toString();
    if (url.href === location.href) {
      return;
    }
    // The host's router may keep something in the entry's state.
    if (replace) {
      history.replaceState(history.state, "", url);
    } else {
      history.pushState(history.state, "", url);
    }
  }

  /** Go where the user wants to. */
  async #go(change: Partial<ViewState>, { replace = false } = {}): Promise<void> {
    this.state = { ...this.state, page: 0, id: null, ...change };
    this.selected = new Set();
    this.actionError = null;
    this.#writeUrl(replace);
    this.#toAnnounce = true; // By whichever load arrives: a refresh may take this one's place.
    await this.#load(this.state);
  }

  async #load(state: ViewState): Promise<void> {
    const inbox = this.#inbox!;
    const shown = await inbox.load(state);
    if (shown === null) {
      this.announceError(inbox.error);
      return;
    }
    if (shown !== this.state) {
      this.state = shown;
      this.#writeUrl(true);
    }
    const ids = new Set(inbox.rows.map(({ id }) => id));
    this.selected = new Set([...this.selected].filter((id) => ids.has(id)));
    if (this.#toAnnounce) {
      this.#toAnnounce = false;
      const pages = pageCount(inbox.totalCount, shown.pageSize);
      this.announcement = `${this.#heading}, page ${shown.page + 1} of ${pages}`;
    }
  }

  #searchNow(): void {
    const search = this.searchText.trim();
    if (search !== this.state.search) {
      // Going back from a search leads to before it, not through its letters.
      void this.#go({ search }, { replace: this.state.search !== "" });
    }
  }

  async #update(update: Update, done: string): Promise<void> {
    await this.#act(
      () => this.client.update(update),
      `${notifications(update.ids.length)} ${done}`,
    );
  }

  async #act(action: () => Promise<unknown>, done: string): Promise<void> {
    this.actionError = null;
    try {
      await action();
    } catch (error) {
      this.actionError = describe(error);
      this.announceError(error);
      return;
    }
    this.announceChange();
    this.#toAnnounce = false; // What was done last is said.
    this.announcement = done;
    await this.#load(this.state);
  }

  #followed(notification: InboxNotification): void {
    if (this.markAsReadOnLinkOpen && notification.read === null) {
      void this.#update({ ids: [notification.id], read: true }, "marked as read");
    }
  }

  /** What the rows are, not what was asked for since: the heading changes when they do. */
  get #heading(): string {
    const shown = this.#inbox?.shown;
    return shown
      ? `${VIEW_LABELS[shown.view]} notifications (${this.#inbox!.totalCount})`
      : `${VIEW_LABELS[this.state.view]} notifications`;
  }

  protected override willUpdate(changed: PropertyValues): void {
    super.willUpdate(changed);
    const active = this.shadowRoot?.activeElement as HTMLElement | null | undefined;
    const index = active?.closest<HTMLElement>("li.row")?.dataset["index"];
    this.#focused =
      index === undefined
        ? null
        : { index: Number(index), action: active!.dataset["action"] ?? "" };
  }

  protected override updated(): void {
    this.#keepFocus();
    this.#reveal();
  }

  /** A row that goes takes the focus with it; the next one gets it, or the heading. */
  #keepFocus(): void {
    const root = this.shadowRoot!;
    if (this.#focused === null || root.activeElement !== null) {
      return;
    }
    const rows = root.querySelectorAll("li.row");
    const next = rows[Math.min(this.#focused.index, rows.length - 1)];
    const target =
      next?.querySelector<HTMLElement>(`[data-action="${this.#focused.action}"]`) ??
      (next as HTMLElement | undefined) ??
      root.querySelector("h2");
    target?.focus();
  }

  #reveal(): void {
    const id = this.#toReveal;
    if (id === null || this.#inbox?.linked?.id !== id) {
      return;
    }
    this.#toReveal = null;
    const target = [...this.shadowRoot!.querySelectorAll<HTMLElement>("li.row")].find(
      (element) => element.dataset["id"] === id,
    );
    target?.scrollIntoView({ block: "center" });
    target?.focus({ preventScroll: true });
  }

  protected override render(): TemplateResult {
    const inbox = this.#inbox;
    return html`
      <header>
        <h1>${this.pageTitle}</h1>
        ${this.pageSubtitle ? html`<p class="subtitle">${this.pageSubtitle}</p>` : nothing}
      </header>
      <div class="columns">
        ${filters({
          state: this.state,
          topics: inbox?.topics ?? [],
          searchText: this.searchText,
          onChange: (change) => void this.#go({ search: this.searchText.trim(), ...change }),
          onSearch: (text) => {
            this.searchText = text;
            this.#search.call();
          },
          onSearchNow: () => this.#search.flush(),
        })}
        <section class="list" aria-busy=${inbox?.loading ?? true} aria-labelledby="heading">
          <h2 id="heading" tabindex="-1">${this.#heading}</h2>
          <div class="visually-hidden" role="status">${this.announcement}</div>
          ${this.#messages(inbox)} ${inbox?.shown ? this.#list(inbox, inbox.shown) : nothing}
        </section>
      </div>
    `;
  }

  #messages(inbox: Inbox | null): TemplateResult {
    const error = inbox?.error ?? null;
    return html`
      ${
        inbox?.shown || error !== null
          ? nothing
          : html`<p class="message" role="status">Loading notifications…</p>`
      }
      ${
        error === null
          ? nothing
          : html`<p class="message error" role="alert">
              ${
                isUnauthenticated(error)
                  ? html`You are not signed in. <slot name="unauthenticated"></slot>`
                  : `The notifications could not be loaded: ${describe(error)}`
              }
              <button @click=${() => this.restart()}>Try again</button>
            </p>`
      }
      ${
        this.actionError === null
          ? nothing
          : html`<p class="message error" role="alert">That did not work: ${this.actionError}</p>`
      }
      ${
        inbox?.linked && inbox.linked.notification === null
          ? html`<p class="message" role="status">
              The notification that you were sent to is not there: it may have been deleted, or be
              somebody else's.
            </p>`
          : nothing
      }
    `;
  }

  #list(inbox: Inbox, shown: ViewState): TemplateResult {
    const rows = inbox.rows;
    const now = new Date();
    return html`
      ${toolbar({
        rows,
        selected: this.selected,
        unread: inbox.status?.unread ?? 0,
        onSelect: (selected) => (this.selected = selected),
        onUpdate: (update, done) => void this.#update(update, done),
        onMarkAllRead: () =>
          void this.#act(() => this.client.markAllRead(), "All notifications marked as read"),
      })}
      ${rows.length === 0 ? this.#empty(shown) : nothing}
      <ul class="rows" role="list">
        ${repeat(
          rows,
          ({ id }) => id,
          (notification, index) => this.#row(notification, index, shown.id, now),
        )}
      </ul>
      ${pager({
        wanted: this.state,
        shown,
        totalCount: inbox.totalCount,
        onPage: (page) => void this.#go({ page }),
        onPageSize: (pageSize) => void this.#go({ pageSize }),
      })}
    `;
  }

  #row(
    notification: InboxNotification,
    index: number,
    linked: string | null,
    now: Date,
  ): TemplateResult {
    const { id } = notification;
    return row({
      notification,
      index,
      selected: this.selected.has(id),
      expanded: this.expanded.has(id),
      linked: linked === id,
      linkBase: this.linkBase,
      icons: this.icons ?? {},
      now,
      onSelect: (selected) => (this.selected = withMember(this.selected, id, selected)),
      onExpand: (expanded) => (this.expanded = withMember(this.expanded, id, expanded)),
      onFollow: () => this.#followed(notification),
      onRead: (read) => void this.#update({ ids: [id], read }, readDone(read)),
      onSave: (saved) => void this.#update({ ids: [id], saved }, savedDone(saved)),
    });
  }

  #empty(shown: ViewState): TemplateResult {
    if (!isFiltered(shown)) {
      return html`<p class="message empty">${EMPTY[shown.view]}</p>`;
    }
    const clear = (): void => {
      this.#search.cancel();
      this.searchText = "";
      const { age, minSeverity, topic, search } = INITIAL;
      void this.#go({ age, minSeverity, topic, search });
    };
    return html`<p class="message empty">
      No notification matches these filters. <button @click=${clear}>Clear filters</button>
    </p>`;
  }
}

function withMember<T>(set: ReadonlySet<T>, member: T, included: boolean): ReadonlySet<T> {
  const changed = new Set(set);
  if (included) {
    changed.add(member);
  } else {
    changed.delete(member);
  }
  return changed;
}
