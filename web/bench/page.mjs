/**
 * An open page in a real browser, which says when it shows what; `python -m bench live` runs it.
 *
 * `PAGE` is `{"url", "token"}` of the gateway and of who reads. Lines of JSON come out: `{}` once
 * news is told to the page, then `{"title", "at"}` of each notification, at in milliseconds since
 * 1970. It ends with its input.
 */

import { chromium } from "playwright-core";

const { url, token } = JSON.parse(process.env.PAGE);
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ["--disable-gpu", "--no-sandbox"],
});
process.stdin.on("end", () => browser.close()).resume();
const page = await browser.newPage();
page.on("websocket", (socket) =>
  socket.on("framesent", ({ payload }) => {
    if (payload.toString().includes('"subscribe"')) {
      say({});
    }
  }),
);
await page.exposeFunction("shown", (title, at) => say({ title, at }));
await page.goto(url);
await page.evaluate((given) => {
  const element = document.createElement("notifications-page");
  element.getToken = async () => given;
  document.body.replaceChildren(element);
  const seen = new Set();
  const look = () => {
    for (const heading of element.shadowRoot?.querySelectorAll("li.row h3 > bdi") ?? []) {
      const title = heading.textContent;
      if (!seen.has(title)) {
        seen.add(title);
        window.shown(title, Date.now());
      }
    }
    requestAnimationFrame(look);
  };
  look();
}, token);
