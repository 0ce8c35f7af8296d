/** The browser's own notifications, while a tab with the page is open. */

import type { InboxNotification } from "../../api/types";
import { cut, LINE_LENGTH } from "../../model/text";

const BODY_LENGTH = 200;

export class WebNotifications {
  readonly #open = new Map<string, Notification>();

  /** Ask for the permission if nobody decided yet; browsers want it to follow from a click. */
  async ask(): Promise<void> {
    if ("Notification" in window && Notification.permission === "default") {
      await Notification.requestPermission();
    }
  }

  /** Show one, if we may. Those of other tabs have the same tag and are not shown twice. */
  show({ id, payload }: InboxNotification, onClick: () => void): void {
    if (!("Notification" in window) || Notification.permission !== "granted") {
      return;
    }
    const shown = new Notification(cut(payload.title, LINE_LENGTH), {
      tag: id,
      ...(payload.description !== null && { body: cut(payload.description, BODY_LENGTH) }),
    });
    this.#open.set(id, shown);
    shown.addEventListener("click", () => {
      shown.close();
      onClick();
    });
    shown.addEventListener("close", () => this.#open.delete(id));
  }

  close(ids: readonly string[]): void {
    ids.forEach((id) => this.#open.get(id)?.close());
  }

  closeAll(): void {
    this.close([...this.#open.keys()]);
  }
}
