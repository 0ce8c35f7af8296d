import { html, type TemplateResult } from "lit";
import type { InboxNotification, Update } from "../../api/types";
import { notifications, readDone, savedDone } from "./labels";

export interface ToolbarOptions {
  rows: readonly InboxNotification[];
  selected: ReadonlySet<string>;
  /** Of all that there are, whatever is shown. */
  unread: number;
  onSelect: (selected: ReadonlySet<string>) => void;
  onUpdate: (update: Update, done: string) => void;
  onMarkAllRead: () => void;
}

/** Draw what can be done with many at once. */
export function toolbar(options: ToolbarOptions): TemplateResult {
  const { rows, selected, unread } = options;
  const chosen = rows.filter(({ id }) => selected.has(id));
  const ids = chosen.map(({ id }) => id);
  const read = chosen.some((notification) => notification.read === null);
  const saved = chosen.some((notification) => notification.saved === null);
  return html`
    <div class="toolbar" role="group" aria-label="Actions">
      <label>
        <input
          type="checkbox"
          .checked=${rows.length > 0 && chosen.length === rows.length}
          .indeterminate=${chosen.length > 0 && chosen.length < rows.length}
          ?disabled=${rows.length === 0}
          @change=${(event: Event) =>
            options.onSelect(
              new Set((event.target as HTMLInputElement).checked ? rows.map(({ id }) => id) : []),
            )}
        />
        ${chosen.length === 0 ? "Select all on this page" : `${chosen.length} selected`}
      </label>
      <span class="bulk">
        ${button(chosen.length === 0 || read ? "Mark as read" : "Mark as unread", ids, () =>
          options.onUpdate({ ids, read }, readDone(read)),
        )}
        ${button(chosen.length === 0 || saved ? "Save" : "Remove from saved", ids, () =>
          options.onUpdate({ ids, saved }, savedDone(saved)),
        )}
        <button aria-disabled=${unread === 0} @click=${(event: Event) => ask(event, unread)}>
          Mark all read
        </button>
      </span>
      ${confirmation(unread, options.onMarkAllRead)}
    </div>
  `;
}

/** A button keeps the focus when there is nothing to do any more. */
function button(label: string, ids: readonly string[], onClick: () => void): TemplateResult {
  return html`<button aria-disabled=${ids.length === 0} @click=${() => ids.length > 0 && onClick()}>
    ${label}
  </button>`;
}

function ask(event: Event, unread: number): void {
  const root = (event.target as HTMLElement).getRootNode() as ShadowRoot;
  if (unread > 0) {
    root.querySelector<HTMLDialogElement>("dialog")?.showModal();
  }
}

function confirmation(unread: number, onConfirm: () => void): TemplateResult {
  const closed = (event: Event): void => {
    const dialog = event.target as HTMLDialogElement;
    if (dialog.returnValue === "yes") {
      onConfirm();
    }
    dialog.returnValue = "";
  };
  return html`<dialog
    aria-labelledby="confirm-title"
    aria-describedby="confirm-text"
    @close=${closed}
  >
    <form method="dialog">
      <h2 id="confirm-title">Mark all as read?</h2>
      <p id="confirm-text">
        ${notifications(unread)} will be marked as read, whatever the filters show.
      </p>
      <div class="buttons">
        <button value="no" autofocus>Cancel</button>
        <button value="yes" class="primary">Mark all read</button>
      </div>
    </form>
  </dialog>`;
}
