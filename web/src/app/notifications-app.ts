/** `<notifications-app>`: the gateway's own page around the three elements. */

import { css, html, LitElement, nothing, type TemplateResult } from "lit";
import { UNAUTHENTICATED } from "../components/connected-element";
import { icon } from "../components/icon";
import { baseStyles } from "../components/styles";
import { ICONS } from "../model/icons";
import { DEFAULT_CONFIG, loadConfig, signInHref, type PageConfig } from "./config";

const SETTINGS = "#settings";

export class NotificationsApp extends LitElement {
  static override styles = [
    baseStyles,
    css`
      .bar {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: 4px 8px;
        padding: 8px 16px;
        border-bottom: 1px solid var(--_line);
        background: var(--_surface);
      }
      .bar .settings,
      .bar .sign-in {
        display: flex;
        align-items: center;
        gap: 10px;
        min-height: 44px;
        padding: 8px 12px;
        border-radius: var(--_radius);
        color: inherit;
        text-decoration: none;
      }
      .bar .settings:hover,
      .bar .settings[aria-current] {
        background: var(--_subtle);
      }
      .user {
        margin-inline-start: auto;
        color: var(--_muted);
        font-size: 0.875rem;
        overflow-wrap: anywhere;
      }
      main {
        max-width: 1200px;
        margin: 0 auto;
      }
      .settings-view {
        display: grid;
        gap: 16px;
        padding: 16px;
      }
      h1 {
        font-size: 1.5rem;
        line-height: 1.3;
      }
      .fault {
        margin: 16px;
      }
    `,
  ];

  static override properties = {
    config: { state: true },
    fault: { state: true },
    user: { state: true },
    signedOut: { state: true },
    settings: { state: true },
  };

  declare protected config: PageConfig | null;
  declare protected fault: string | null;
  declare protected user: string | null;
  declare protected signedOut: boolean;
  declare protected settings: boolean;

  constructor() {
    super();
    this.config = null;
    this.fault = null;
    this.user = null;
    this.signedOut = false;
    this.settings = location.hash === SETTINGS;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    window.addEventListener("hashchange", this.#moved);
    this.addEventListener(UNAUTHENTICATED, this.#unauthenticated);
    void this.#start();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    window.removeEventListener("hashchange", this.#moved);
    this.removeEventListener(UNAUTHENTICATED, this.#unauthenticated);
  }

  async #start(): Promise<void> {
    try {
      this.config = await loadConfig();
    } catch (error) {
      console.error("notifications:", error);
      this.config = DEFAULT_CONFIG;
    }
    document.title = this.config.title;
    await this.#whoAmI(this.config.sessionUrl);
  }

  /** A nicety: the page works without knowing it. */
  async #whoAmI(sessionUrl: string | null): Promise<void> {
    if (sessionUrl === null) {
      return;
    }
    try {
      const response = await fetch(sessionUrl, { headers: { Accept: "application/json" } });
      if (response.ok) {
        const { userEntityRef } = (await response.json()) as { userEntityRef?: unknown };
        this.user = typeof userEntityRef === "string" ? userEntityRef : null;
      }
    } catch (error) {
      console.warn("notifications: it is not known who is signed in:", error);
    }
  }

  async #signOut(signOutUrl: string): Promise<void> {
    try {
      const response = await fetch(signOutUrl, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: "{}",
      });
      if (!response.ok) {
        throw new Error(`the server answered ${response.status}`);
      }
    } catch (error) {
      this.fault = `You could not be signed out: ${String(error)}`;
      return;
    }
    location.reload();
  }

  readonly #moved = (): void => {
    this.settings = location.hash === SETTINGS;
  };

  readonly #unauthenticated = (): void => {
    this.signedOut = true;
    this.user = null;
  };

  protected override render(): TemplateResult {
    const { config } = this;
    if (config === null) {
      return html`<p class="message fault" role="status">Loading…</p>`;
    }
    return html`
      ${this.#bar(config)}
      ${
        this.fault === null
          ? nothing
          : html`<p class="message error fault" role="alert">${this.fault}</p>`
      }
      <main>${this.settings ? this.#settings(config) : this.#page(config)}</main>
    `;
  }

  #bar(config: PageConfig): TemplateResult {
    return html`<nav class="bar" aria-label="Main">
      <notifications-sidebar-item
        .baseUrl=${config.baseUrl}
        .signalsUrl=${config.signalsUrl}
        .appBaseUrl=${config.appBaseUrl}
        .webNotificationsEnabled=${config.webNotificationsEnabled}
        .titleCounterEnabled=${config.titleCounterEnabled}
        .snackbarEnabled=${config.snackbarEnabled}
        .snackbarAutoHideDuration=${config.snackbarAutoHideDuration}
        to="#"
      ></notifications-sidebar-item>
      <a class="settings" href=${SETTINGS} aria-current=${this.settings ? "page" : nothing}
        >${icon(ICONS.settings)}Settings</a
      >
      ${this.user === null ? nothing : html`<bdi class="user">${this.user}</bdi>`}
      ${
        this.user !== null && config.signOutUrl !== null
          ? html`<button @click=${() => void this.#signOut(config.signOutUrl!)}>Sign out</button>`
          : nothing
      }
    </nav>`;
  }

  #page(config: PageConfig): TemplateResult {
    return html`<notifications-page
      .baseUrl=${config.baseUrl}
      .signalsUrl=${config.signalsUrl}
      .appBaseUrl=${config.appBaseUrl}
      .pageTitle=${config.title}
      .markAsReadOnLinkOpen=${config.markAsReadOnLinkOpen}
      >${this.#signIn(config)}</notifications-page
    >`;
  }

  #settings(config: PageConfig): TemplateResult {
    return html`<div class="settings-view">
      <h1>Settings</h1>
      <notification-settings
        .baseUrl=${config.baseUrl}
        .originNames=${config.originNames}
        .topicNames=${config.topicNames}
        >${this.#signIn(config)}</notification-settings
      >
    </div>`;
  }

  #signIn({ signInUrl }: PageConfig): TemplateResult | typeof nothing {
    return this.signedOut && signInUrl !== null
      ? html`<a slot="unauthenticated" href=${signInHref(signInUrl, location)}>Sign in</a>`
      : nothing;
  }
}
