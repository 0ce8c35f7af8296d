import { describe, expect, test } from "vitest";
import { resolveLink } from "../../src/model/links";

const BASE = "https://portal.example/app";

test.each([
  ["/catalog/x", "https://portal.example/app/catalog/x"],
  ["catalog/x?a=1#b", "https://portal.example/app/catalog/x?a=1#b"],
  ["/", "https://portal.example/app/"],
  ["?q=1", "https://portal.example/app/?q=1"],
  ["https://portal.example/elsewhere", "https://portal.example/elsewhere"],
])("%j leads within the application", (link, href) => {
  expect(resolveLink(link, BASE)).toEqual({ href, externalHost: null });
});

test.each([
  ["http://foo.com/bar", "http://foo.com/bar", "foo.com"],
  ["HTTPS://Foo.com:8443/", "https://foo.com:8443/", "foo.com:8443"],
  ["http://portal.example/app", "http://portal.example/app", "portal.example"],
  // A host in other letters is shown as what it is.
  ["https://раypal.com/", "https://xn--ypal-43d9g.com/", "xn--ypal-43d9g.com"],
])("%j leads away", (link, href, externalHost) => {
  expect(resolveLink(link, BASE)).toEqual({ href, externalHost });
});

describe("no link", () => {
  test.each([
    "",
    "javascript:alert(1)",
    "JavaScript:alert(1)",
    "java\nscript:alert(1)",
    "\u0001javascript:alert(1)",
    " javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:x",
    "mailto:a@b.c",
    "file:///etc/passwd",
    "blob:https://portal.example/1",
    "//evil.example/x",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "///evil.example",
    "https:evil.example",
    "https:/evil.example",
    "https:///evil.example",
    "https://user@evil.example/",
    "https://user:pass@evil.example/",
    "https://portal.example@evil.example/",
    "https://[::1",
    "https://exa mple/",
    "/../../etc",
    "../outside",
  ])("%j", (link) => {
    expect(resolveLink(link, BASE)).toBeNull();
  });
});

test("the base may have a slash at its end, a query and a fragment", () => {
  for (const base of ["https://p.example", "https://p.example/", "https://p.example/?a=/b#/c"]) {
    expect(resolveLink("/x", base)?.href).toBe("https://p.example/x");
  }
});
