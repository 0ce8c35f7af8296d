/**
 * What the gateway says of its page: `page.json`, beside the page.
 *
 * It is a file of its own and not in the page, so that the page is the same everywhere and needs no
 * inline script. The gateway serves it from its settings; without it everything is as below.
 */

export interface PageConfig {
  title: string;
  baseUrl: string;
  signalsUrl: string | null;
  /** The portal that links are relative to; `null`: the gateway's own origin. */
  appBaseUrl: string | null;
  /** Of the login by browser; `null`: there is none. */
  signInUrl: string | null;
  signOutUrl: string | null;
  /** Says who is signed in. */
  sessionUrl: string | null;
  markAsReadOnLinkOpen: boolean;
  webNotificationsEnabled: boolean;
  titleCounterEnabled: boolean;
  snackbarEnabled: boolean;
  /** In milliseconds; `null`: until somebody closes it. */
  snackbarAutoHideDuration: number | null;
  originNames: Readonly<Record<string, string>>;
  topicNames: Readonly<Record<string, string>>;
}

export const DEFAULT_CONFIG: Readonly<PageConfig> = {
  title: "Notifications",
  baseUrl: "/api/notifications",
  signalsUrl: null,
  appBaseUrl: null,
  signInUrl: "/auth/login",
  signOutUrl: "/auth/logout",
  sessionUrl: "/auth/session",
  markAsReadOnLinkOpen: false,
  webNotificationsEnabled: false,
  titleCounterEnabled: true,
  snackbarEnabled: true,
  snackbarAutoHideDuration: 15_000,
  originNames: {},
  topicNames: {},
};

/** Return the configuration; what is missing in it, or there is none of, is as by default. */
export async function loadConfig(): Promise<PageConfig> {
  const response = await fetch("page.json", { headers: { Accept: "application/json" } });
  if (response.status === 404) {
    return DEFAULT_CONFIG;
  }
  if (!response.ok) {
    throw new Error(`page.json: the server answered ${response.status}`);
  }
  return { ...DEFAULT_CONFIG, ...((await response.json()) as Partial<PageConfig>) };
}

/** Longest way back that the gateway takes along. */
const RETURN_TO_LENGTH = 1024;

/** Return where to sign in, and come back from. */
export function signInHref(signInUrl: string, here: Location): string {
  const url = new URL(signInUrl, here.href);
  const back = here.pathname + here.search + here.hash;
  url.searchParams.set("return_to", back.length <= RETURN_TO_LENGTH ? back : here.pathname);
  return url.href;
}
