/** `<notifications-sidebar-item>`: how many are unread, and that there is a new one. */

import { html, nothing, type PropertyValues, type TemplateResult } from "lit";
import type { InboxNotification, NotificationSignal } from "../../api/types";
import { ICONS } from "../../model/icons";
import { resolveLink } from "../../model/links";
import { snackbarOptions, Snacks, type SnackbarOptions } from "../../model/snacks";
import { badge, cut, LINE_LENGTH } from "../../model/text";
import { Coalesced } from "../../model/throttle";
import { TitleCounter } from "../../model/title-counter";
import { durationAttribute, jsonAttribute, switchAttribute } from "../attributes";
import { ConnectedElement } from "../connected-element";
import { icon } from "../icon";
import { baseStyles } from "../styles";
import { snackbar } from "./snackbar";
import { sidebarStyles } from "./styles";
import { WebNotifications } from "./web-notifications";

/** Most that are asked for at a time in order to be shown; the rest is in the list anyway. */
const MOST_FETCHES = 10;

/** What `renderItem` gets. */
export interface SidebarItem {
  unreadCount: number;
  to: string;
  /** To be called when the item is clicked. */
  onClick: () => void;
}

export class NotificationsSidebarItem extends ConnectedElement {
  static override styles = [baseStyles, sidebarStyles];

  static override properties = {
    webNotificationsEnabled: {
      attribute: "web-notifications-enabled",
      converter: switchAttribute,
    },
    titleCounterEnabled: { attribute: "title-counter-enabled", converter: switchAttribute },
    snackbarEnabled: { attribute: "snackbar-enabled", converter: switchAttribute },
    snackbarAutoHideDuration: {
      attribute: "snackbar-auto-hide-duration",
      converter: durationAttribute,
    },
    snackbarProps: { attribute: "snackbar-props", converter: jsonAttribute },
    to: {},
    text: {},
    disableHighlight: { attribute: "disable-highlight", converter: switchAttribute },
    renderItem: { attribute: false },
    unreadCount: { state: true },
    announcement: { state: true },
    current: { state: true },
  };

  declare webNotificationsEnabled: boolean;
  declare titleCounterEnabled: boolean;
  declare snackbarEnabled: boolean;
  declare snackbarAutoHideDuration: number | null;
  declare snackbarProps: Partial<SnackbarOptions> | null;
  /** Where the page is. */
  declare to: string;
  declare text: string;
  declare disableHighlight: boolean;
  /** Draws the item otherwise: returns a node, a text or a template of Lit's. */
  declare renderItem: ((item: SidebarItem) => unknown) | undefined;
  declare protected unreadCount: number;
  declare protected announcement: string;
  declare protected current: boolean;

  readonly #titleCounter = new TitleCounter(document);
  readonly #webNotifications = new WebNotifications();
  readonly #snacks = new Snacks(() => this.requestUpdate());
  #abort = new AbortController();
  #fetches = 0;
  readonly #counting = new Coalesced(() => this.#count());

  constructor() {
    super();
    this.webNotificationsEnabled = false;
    this.titleCounterEnabled = true;
    this.snackbarEnabled = true;
    this.snackbarAutoHideDuration = 15_000;
    this.snackbarProps = null;
    this.to = "/notifications";
    this.text = "Notifications";
    this.disableHighlight = false;
    this.renderItem = undefined;
    this.unreadCount = 0;
    this.announcement = "";
    this.current = false;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    window.addEventListener("popstate", this.#moved);
    window.navigation?.addEventListener("currententrychange", this.#moved);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    window.removeEventListener("popstate", this.#moved);
    window.navigation?.removeEventListener("currententrychange", this.#moved);
    this.#abort.abort();
    this.#titleCounter.remove();
    this.#webNotifications.closeAll();
    this.#snacks.clear();
  }

  protected override connect(): Promise<unknown> {
    this.#abort.abort();
    this.#abort = new AbortController();
    return this.#counting.call();
  }

  protected override refresh(): void {
    void this.#counting.call();
  }

  protected override onSignal(signal: NotificationSignal): void {
    switch (signal.action) {
      case "new_notification":
        void this.#tell(signal.id, signal.notification);
        break;
      case "notification_read":
        this.#snacks.remove(signal.ids);
        this.#webNotifications.close(signal.ids);
        break;
    }
  }

  async #count(): Promise<void> {
    const { signal } = this.#abort;
    const shown = this.#snacks.items;
    try {
      this.unreadCount = (await this.client.status(signal)).unread;
      if (this.unreadCount === 0) {
        this.#snacks.remove(shown.map(({ id }) => id)); // All were read, here or elsewhere.
      }
    } catch (error) {
      if (!signal.aborted) {
        // The last number stays: it is truer than none, and the next refresh may work.
        this.announceError(error);
      }
    }
  }

  async #tell(id: string, sent: InboxNotification | null): Promise<void> {
    const web = this.webNotificationsEnabled;
    if (!this.#snackbarOptions.enabled && !web) {
      return;
    }
    const notification = sent ?? (await this.#fetch(id));
    if (notification === null || notification.read !== null || !this.isConnected) {
      return;
    }
    if (this.#snackbarOptions.enabled) {
      this.#snacks.add(notification, this.#snackbarOptions);
      this.announcement = `New notification: ${cut(notification.payload.title, LINE_LENGTH)}`;
    }
    if (web) {
      this.#webNotifications.show(notification, () => this.#openFrom(notification));
    }
  }

  async #fetch(id: string): Promise<InboxNotification | null> {
    if (this.#fetches >= MOST_FETCHES) {
      return null;
    }
    this.#fetches += 1;
    try {
      return await this.client.get(id);
    } catch (error) {
      console.warn("notifications: a new one could not be shown:", error);
      return null;
    } finally {
      this.#fetches -= 1;
    }
  }

  #openFrom(notification: InboxNotification): void {
    const { link } = notification.payload;
    const resolved = link === null ? null : resolveLink(link, this.linkBase);
    window.focus();
    if (resolved !== null) {
      window.open(resolved.href, "_blank", "noopener,noreferrer");
    }
    void this.#markRead(notification);
  }

  async #markRead({ id }: InboxNotification): Promise<void> {
    this.#snacks.remove([id]);
    this.#webNotifications.close([id]);
    try {
      await this.client.update({ ids: [id], read: true });
    } catch (error) {
      console.warn("notifications: could not be marked as read:", error);
      this.announceError(error);
      return;
    }
    this.announceChange();
    this.refresh();
  }

  readonly #moved = (): void => {
    const to = new URL(this.to, document.baseURI);
    this.current =
      to.origin === location.origin &&
      to.pathname === location.pathname &&
      to.hash === location.hash;
  };

  readonly #clicked = (): void => {
    if (this.webNotificationsEnabled) {
      void this.#webNotifications.ask();
    }
  };

  get #snackbarOptions(): SnackbarOptions {
    return snackbarOptions(this.snackbarProps, this.snackbarEnabled, this.snackbarAutoHideDuration);
  }

  protected override willUpdate(changed: PropertyValues): void {
    super.willUpdate(changed);
    if (changed.has("to")) {
      this.#moved();
    }
  }

  protected override updated(): void {
    if (this.titleCounterEnabled) {
      this.#titleCounter.show(this.unreadCount);
    } else {
      this.#titleCounter.remove();
    }
    const snacks = this.shadowRoot!.querySelector<HTMLElement>(".snacks")!;
    snacks.togglePopover(this.#snacks.items.length > 0);
  }

  protected override render(): TemplateResult {
    return html`
      ${
        this.renderItem
          ? this.renderItem({
              unreadCount: this.unreadCount,
              to: this.to,
              onClick: this.#clicked,
            })
          : this.#item()
      }
      <div class="visually-hidden" role="status">${this.announcement}</div>
      ${snackbar(this.#snacks, this.#snackbarOptions, this.linkBase, {
        onRead: (notification) => void this.#markRead(notification),
        onClose: ({ id }) => this.#snacks.remove([id]),
      })}
    `;
  }

  #item(): TemplateResult {
    const { unreadCount, current } = this;
    return html`<a
      class="item ${current && !this.disableHighlight ? "highlighted" : ""}"
      part="item"
      href=${this.to}
      aria-current=${current ? "page" : nothing}
      @click=${this.#clicked}
    >
      <slot name="icon">${icon(ICONS.bell)}</slot>
      <span>${this.text}</span>
      ${
        unreadCount === 0
          ? nothing
          : html`<span class="badge" part="badge"
              >${badge(unreadCount)}<span class="visually-hidden"> unread</span></span
            >`
      }
    </a>`;
  }
}
