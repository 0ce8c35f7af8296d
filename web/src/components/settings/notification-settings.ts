/** `<notification-settings>`: which origins and topics reach the user by which channel. */

import { html, nothing, type TemplateResult } from "lit";
import { describe, isAborted, isUnauthenticated } from "../../api/errors";
import { ICONS } from "../../model/icons";
import { isEnabled, originRows, SettingsEditor, type OriginRow } from "../../model/settings";
import { cut, LINE_LENGTH, nameOf } from "../../model/text";
import { jsonAttribute } from "../attributes";
import { ConnectedElement } from "../connected-element";
import { icon } from "../icon";
import { baseStyles } from "../styles";
import { settingsStyles } from "./styles";

type Names = Readonly<Record<string, string>>;

export class NotificationSettings extends ConnectedElement {
  static override styles = [baseStyles, settingsStyles];

  static override properties = {
    cardTitle: { attribute: "card-title" },
    originNames: { attribute: "origin-names", converter: jsonAttribute },
    topicNames: { attribute: "topic-names", converter: jsonAttribute },
    expanded: { state: true },
    error: { state: true },
  };

  declare cardTitle: string;
  /** What to call origins, and topics, by their ids. */
  declare originNames: Names | null;
  declare topicNames: Names | null;
  declare protected expanded: ReadonlySet<string>;
  declare protected error: unknown;

  #editor: SettingsEditor | null = null;
  #abort = new AbortController();

  constructor() {
    super();
    this.cardTitle = "Notification settings";
    this.originNames = null;
    this.topicNames = null;
    this.expanded = new Set();
    this.error = null;
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#abort.abort();
  }

  /** A matrix that changes under one's fingers would be saved back as it was. */
  protected override get isLive(): boolean {
    return false;
  }

  protected override connect(): Promise<unknown> {
    return this.#load();
  }

  protected override refresh(): void {
    void this.#load();
  }

  async #load(): Promise<void> {
    this.#abort.abort();
    const { signal } = (this.#abort = new AbortController());
    const client = this.client;
    try {
      const matrix = await client.settings(signal);
      signal.throwIfAborted();
      this.#editor = new SettingsEditor(
        matrix,
        (changed) => client.saveSettings(changed),
        () => this.requestUpdate(),
      );
      this.error = null;
    } catch (error) {
      if (signal.aborted || isAborted(error)) {
        return;
      }
      this.error = error;
      this.announceError(error);
    }
    this.requestUpdate();
  }

  protected override render(): TemplateResult {
    return html`
      <section aria-labelledby="heading">
        <h2 id="heading">${this.cardTitle}</h2>
        ${this.#messages()} ${this.#editor === null ? nothing : this.#matrix(this.#editor)}
      </section>
    `;
  }

  #messages(): TemplateResult {
    const saveError = this.#editor?.error ?? null;
    return html`
      ${
        this.#editor === null && this.error === null
          ? html`<p class="message" role="status">Loading settings…</p>`
          : nothing
      }
      ${
        this.error === null
          ? nothing
          : html`<p class="message error" role="alert">
              ${
                isUnauthenticated(this.error)
                  ? html`You are not signed in. <slot name="unauthenticated"></slot>`
                  : `The settings could not be loaded: ${describe(this.error)}`
              }
              <button @click=${() => this.restart()}>Try again</button>
            </p>`
      }
      ${
        saveError === null
          ? nothing
          : html`<p class="message error" role="alert">
              The settings could not be saved and are as before: ${saveError}
            </p>`
      }
      <div class="visually-hidden" role="status">${this.#editor?.saving ? "Saving…" : nothing}</div>
    `;
  }

  #matrix(editor: SettingsEditor): TemplateResult {
    const rows = originRows(editor.shown);
    const { channels } = editor.shown;
    if (rows.length === 0 || channels.length === 0) {
      return html`<p class="message">
        There is nothing to set yet: whoever sends you notifications will be listed here.
      </p>`;
    }
    return html`<div class="scroll" role="region" aria-label="Origins and channels" tabindex="0">
      <table>
        <thead>
          <tr>
            <th scope="col">Origin</th>
            ${channels.map(({ id }) => html`<th scope="col"><bdi>${cut(id, LINE_LENGTH)}</bdi></th>`)}
          </tr>
        </thead>
        <tbody>
          ${rows.map((origin) => this.#origin(editor, origin))}
        </tbody>
      </table>
    </div>`;
  }

  #origin(editor: SettingsEditor, origin: OriginRow): TemplateResult {
    const expanded = this.expanded.has(origin.id);
    const name = cut(nameOf(origin.id, this.originNames ?? {}), LINE_LENGTH);
    return html`
      <tr class="origin">
        <th scope="row">
          ${
            origin.topics.length === 0
              ? html`<span class="unexpandable"><bdi>${name}</bdi></span>`
              : html`<button
                  class="plain expander"
                  aria-expanded=${expanded}
                  @click=${() => this.#expand(origin.id, !expanded)}
                >
                  ${icon(ICONS.chevron)}<bdi>${name}</bdi>
                </button>`
          }
        </th>
        ${this.#switches(editor, origin.id, null, name)}
      </tr>
      ${
        expanded
          ? origin.topics.map((topic) => {
              const topicName = cut(nameOf(topic, this.topicNames ?? {}), LINE_LENGTH);
              return html`<tr class="topic">
                <th scope="row"><bdi>${topicName}</bdi></th>
                ${this.#switches(editor, origin.id, topic, `${name}, ${topicName}`)}
              </tr>`;
            })
          : nothing
      }
    `;
  }

  #switches(
    editor: SettingsEditor,
    originId: string,
    topicId: string | null,
    name: string,
  ): TemplateResult[] {
    return editor.shown.channels.map((channel) => {
      const ofOrigin = isEnabled(editor.shown, channel.id, originId, null);
      const enabled =
        topicId === null
          ? ofOrigin
          : ofOrigin && isEnabled(editor.shown, channel.id, originId, topicId);
      return html`<td>
        <input
          type="checkbox"
          role="switch"
          aria-label="${name}: ${cut(channel.id, LINE_LENGTH)}"
          .checked=${enabled}
          ?disabled=${topicId !== null && !ofOrigin}
          @change=${(event: Event) =>
            void this.#toggle(
              editor,
              channel.id,
              originId,
              topicId,
              event.target as HTMLInputElement,
            )}
        />
      </td>`;
    });
  }

  async #toggle(
    editor: SettingsEditor,
    channelId: string,
    originId: string,
    topicId: string | null,
    input: HTMLInputElement,
  ): Promise<void> {
    await editor.toggle(channelId, originId, topicId, input.checked);
  }

  #expand(originId: string, expanded: boolean): void {
    const changed = new Set(this.expanded);
    if (expanded) {
      changed.add(originId);
    } else {
      changed.delete(originId);
    }
    this.expanded = changed;
  }
}
