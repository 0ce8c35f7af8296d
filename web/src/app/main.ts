/** The gateway's own page. */

import "../elements";
import { NotificationsApp } from "./notifications-app";

customElements.define("notifications-app", NotificationsApp);
