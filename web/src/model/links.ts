/**
 * Where a notification's link leads, if it is one that may be followed.
 *
 * The gateway checks links when they are sent. They are checked here again, by the rules of browsers,
 * because it is here that somebody clicks.
 */

export interface ResolvedLink {
  href: string;
  /** The host to show, for one that leads away; `null` within the application. */
  externalHost: string | null;
}

const HTTP = /^https?:\/\/[^/?#]/i;
const SCHEME = /^[a-z][a-z0-9+.-]*:/i;
// What URL parsers drop, or read as something else than people do (WHATWG URL 4.4).
const TREACHEROUS = /[\u0000-\u0020\u007f\\]/;

/**
 * Resolve a link as upstream does, against the base of the application.
 *
 * @param link - an `http(s)` URL with a host, or a path under the application.
 * @param appBaseUrl - absolute; with or without a slash at its end.
 * @returns `null` for anything else: then it is no link.
 */
export function resolveLink(link: string, appBaseUrl: string): ResolvedLink | null {
  if (TREACHEROUS.test(link)) {
    return null;
  }
  return HTTP.test(link) ? resolveAbsolute(link, appBaseUrl) : resolveRelative(link, appBaseUrl);
}

function resolveAbsolute(link: string, appBaseUrl: string): ResolvedLink | null {
  if (!URL.canParse(link)) {
    return null;
  }
  const url = new URL(link);
  if (url.username !== "" || url.password !== "") {
    return null; // `https://bank.example@evil.example/` reads as what it is not.
  }
  const own = url.origin === new URL(appBaseUrl).origin;
  return { href: url.href, externalHost: own ? null : url.host };
}

function resolveRelative(link: string, appBaseUrl: string): ResolvedLink | null {
  if (link === "" || link.startsWith("//") || SCHEME.test(link)) {
    return null;
  }
  const base = new URL(appBaseUrl.replace(/[?#].*$/, "").replace(/\/*$/, "/"));
  const url = new URL(link.replace(/^\//, ""), base);
  return url.href.startsWith(base.href) ? { href: url.href, externalHost: null } : null;
}
