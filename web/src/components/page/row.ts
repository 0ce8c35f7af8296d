import { html, nothing, type TemplateResult } from "lit";
import type { InboxNotification } from "../../api/types";
import { ICONS, notificationIcon, type IconPaths } from "../../model/icons";
import { resolveLink } from "../../model/links";
import { cut, LINE_LENGTH, TEXT_LENGTH } from "../../model/text";
import { absoluteTime, relativeTime } from "../../model/time";
import { icon } from "../icon";
import { SEVERITY_LABELS } from "./labels";

/** Longer descriptions are folded. */
const FOLDED_LENGTH = 100;

export interface RowOptions {
  notification: InboxNotification;
  /** Place among the rows, from 0. */
  index: number;
  selected: boolean;
  expanded: boolean;
  /** The URL leads to this one. */
  linked: boolean;
  linkBase: string;
  icons: IconPaths;
  now: Date;
  onSelect: (selected: boolean) => void;
  onExpand: (expanded: boolean) => void;
  onFollow: () => void;
  onRead: (read: boolean) => void;
  onSave: (saved: boolean) => void;
}

/** Draw one notification. */
export function row(options: RowOptions): TemplateResult {
  const { notification, index } = options;
  const { payload } = notification;
  const unread = notification.read === null;
  const title = cut(payload.title, LINE_LENGTH);
  return html`
    <li
      class="row ${unread ? "unread" : ""} ${options.linked ? "linked" : ""}"
      data-index=${index}
      data-id=${notification.id}
      tabindex="-1"
      aria-labelledby="title-${index}"
      aria-current=${options.linked ? "true" : nothing}
    >
      <label class="select">
        <input
          type="checkbox"
          data-action="select"
          aria-label="Select: ${title}"
          .checked=${options.selected}
          @change=${(event: Event) => options.onSelect((event.target as HTMLInputElement).checked)}
        />
      </label>
      <span class="severity ${payload.severity}">
        ${icon(notificationIcon(payload.icon, payload.severity, options.icons))}
        <span class="visually-hidden">Severity: ${SEVERITY_LABELS[payload.severity]}</span>
      </span>
      <div class="body">
        <h3 id="title-${index}">
          ${unread ? html`<span class="visually-hidden">Unread: </span>` : nothing}${titleText(
            options,
            title,
          )}
        </h3>
        ${description(options)} ${meta(options)}
      </div>
      <div class="actions">
        ${action(
          unread ? "Mark as read" : "Mark as unread",
          unread ? ICONS.markRead : ICONS.markUnread,
          "read",
          title,
          () => options.onRead(unread),
        )}
        ${action(
          notification.saved === null ? "Save" : "Remove from saved",
          notification.saved === null ? ICONS.bookmarkOutline : ICONS.bookmark,
          "save",
          title,
          () => options.onSave(notification.saved === null),
        )}
      </div>
    </li>
  `;
}

function titleText(options: RowOptions, title: string): TemplateResult {
  const { link } = options.notification.payload;
  const resolved = link === null ? null : resolveLink(link, options.linkBase);
  if (resolved === null) {
    return html`<bdi>${title}</bdi>`;
  }
  const away = resolved.externalHost !== null;
  const followed = (event: MouseEvent): void => {
    if (event.button <= 1) {
      options.onFollow(); // Not for the button that opens a menu.
    }
  };
  return html`<a
      href=${resolved.href}
      target=${away ? "_blank" : nothing}
      rel=${away ? "noopener noreferrer" : nothing}
      data-action="follow"
      @click=${followed}
      @auxclick=${followed}
      ><bdi>${title}</bdi></a
    >${
      away
        ? html` <span class="host"
            ><bdi dir="ltr">${resolved.externalHost}</bdi>${icon(ICONS.open)}<span
              class="visually-hidden"
              >(opens in a new tab)</span
            ></span
          >`
        : nothing
    }`;
}

function description(options: RowOptions): TemplateResult | typeof nothing {
  const text = options.notification.payload.description;
  if (text === null) {
    return nothing;
  }
  const folded = cut(text, FOLDED_LENGTH);
  const whole = cut(text, TEXT_LENGTH);
  if (folded === whole) {
    return html`<p class="description" dir="auto">${whole}</p>`;
  }
  const id = `description-${options.index}`;
  return html`<div class="description">
    <p id=${id} dir="auto">${options.expanded ? whole : folded}</p>
    <button
      class="link"
      data-action="expand"
      aria-expanded=${options.expanded}
      aria-controls=${id}
      @click=${() => options.onExpand(!options.expanded)}
    >
      Show ${options.expanded ? "less" : "more"}
    </button>
  </div>`;
}

function meta(options: RowOptions): TemplateResult {
  const { origin, topic, created, updated } = {
    ...options.notification,
    ...options.notification.payload,
  };
  const time = updated ?? created;
  return html`<p class="meta">
    ${
      options.notification.user === null
        ? html`<span class="broadcast" title="To everybody"
            >${icon(ICONS.broadcast)}<span class="visually-hidden">To everybody</span></span
          >`
        : nothing
    }
    <span><span class="visually-hidden">From </span><bdi>${cut(origin, LINE_LENGTH)}</bdi></span>
    ${
      topic === null
        ? nothing
        : html`<span
            ><span class="visually-hidden">Topic </span><bdi>${cut(topic, LINE_LENGTH)}</bdi></span
          >`
    }
    <time
      datetime=${time.toISOString()}
      title=${updated === null ? absoluteTime(created) : `Updated ${absoluteTime(updated)}`}
      >${relativeTime(time, options.now)}</time
    >
  </p>`;
}

function action(
  label: string,
  path: string,
  name: string,
  title: string,
  onClick: () => void,
): TemplateResult {
  return html`<button
    class="plain icon-only"
    data-action=${name}
    title=${label}
    aria-label="${label}: ${title}"
    @click=${onClick}
  >
    ${icon(path)}
  </button>`;
}
