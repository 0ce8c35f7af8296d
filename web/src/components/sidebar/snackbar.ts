import { html, nothing, type TemplateResult } from "lit";
import type { InboxNotification } from "../../api/types";
import { ICONS, notificationIcon } from "../../model/icons";
import { resolveLink } from "../../model/links";
import { TITLE_LENGTH, type SnackbarOptions, type Snacks } from "../../model/snacks";
import { cut } from "../../model/text";
import { icon } from "../icon";
import { SEVERITY_LABELS } from "../page/labels";

export interface SnackbarHandlers {
  onRead: (notification: InboxNotification) => void;
  onClose: (notification: InboxNotification) => void;
}

/** Draw the new notifications; the element shows them above everything else in the window. */
export function snackbar(
  snacks: Snacks,
  options: SnackbarOptions,
  linkBase: string,
  handlers: SnackbarHandlers,
): TemplateResult {
  const { vertical, horizontal } = options.anchorOrigin;
  return html`<div
    class="snacks ${vertical} ${horizontal} ${options.dense ? "dense" : ""}"
    part="snackbar"
    popover="manual"
    role="region"
    aria-label="New notifications"
    @pointerenter=${() => snacks.pause()}
    @pointerleave=${() => snacks.resume()}
    @focusin=${() => snacks.pause()}
    @focusout=${() => snacks.resume()}
  >
    ${snacks.items.map((notification) => snack(notification, options, linkBase, handlers))}
  </div>`;
}

function snack(
  notification: InboxNotification,
  options: SnackbarOptions,
  linkBase: string,
  { onRead, onClose }: SnackbarHandlers,
): TemplateResult {
  const { payload } = notification;
  const title = cut(payload.title, TITLE_LENGTH);
  const link = payload.link === null ? null : resolveLink(payload.link, linkBase);
  return html`<div class="snack ${payload.severity}" part="snack ${payload.severity}">
    <span class="severity"
      >${icon(notificationIcon(payload.severity, payload.severity, options.iconVariant))}<span
        class="visually-hidden"
        >Severity: ${SEVERITY_LABELS[payload.severity]}</span
      ></span
    >
    <span class="title"
      ><bdi>${title}</bdi>${
        link?.externalHost ? html` <bdi class="host" dir="ltr">${link.externalHost}</bdi>` : nothing
      }</span
    >
    <span class="buttons">
      ${
        link === null
          ? nothing
          : html`<a
              href=${link.href}
              target="_blank"
              rel="noopener noreferrer"
              aria-label="Open: ${title}"
              title="Open"
              @click=${() => onRead(notification)}
              >${icon(ICONS.open)}</a
            >`
      }
      <button
        class="plain icon-only"
        aria-label="Mark as read: ${title}"
        title="Mark as read"
        @click=${() => onRead(notification)}
      >
        ${icon(ICONS.markRead)}
      </button>
      <button
        class="plain icon-only"
        aria-label="Close: ${title}"
        title="Close"
        @click=${() => onClose(notification)}
      >
        ${icon(ICONS.close)}
      </button>
    </span>
  </div>`;
}
