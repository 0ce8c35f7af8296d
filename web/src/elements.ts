/** The three elements, defined. A script that is loaded twice does no harm. */

import { NotificationsPage } from "./components/page/notifications-page";
import { NotificationSettings } from "./components/settings/notification-settings";
import { NotificationsSidebarItem } from "./components/sidebar/notifications-sidebar-item";

const ELEMENTS = {
  "notifications-page": NotificationsPage,
  "notifications-sidebar-item": NotificationsSidebarItem,
  "notification-settings": NotificationSettings,
};

for (const [name, element] of Object.entries(ELEMENTS)) {
  if (customElements.get(name) === undefined) {
    customElements.define(name, element);
  }
}
