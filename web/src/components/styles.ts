/** What all elements look like. Portals override the custom properties `--notifications-*`. */

import { css } from "lit";

export const baseStyles = css`
  :host {
    color-scheme: light dark;
    --_background: var(--notifications-background, light-dark(#ffffff, #14181d));
    --_surface: var(--notifications-surface, light-dark(#ffffff, #1b2027));
    --_subtle: var(--notifications-subtle, light-dark(#f3f5f8, #232a33));
    --_line: var(--notifications-line, light-dark(#d5dae1, #38424d));
    --_control: var(--notifications-control, light-dark(#76818f, #7f8b99));
    --_text: var(--notifications-text, light-dark(#1b232d, #e7ebf0));
    --_muted: var(--notifications-muted, light-dark(#505b69, #a9b3bf));
    --_accent: var(--notifications-accent, light-dark(#0b57a4, #82baf6));
    --_on-accent: var(--notifications-on-accent, light-dark(#ffffff, #0c1a29));
    --_critical: var(--notifications-critical, light-dark(#b3201a, #ff8d83));
    --_high: var(--notifications-high, light-dark(#9c4500, #ffb26b));
    --_normal: var(--notifications-normal, var(--_accent));
    --_low: var(--notifications-low, var(--_muted));
    --_radius: var(--notifications-radius, 8px);
    --_font: var(
      --notifications-font,
      system-ui,
      -apple-system,
      "Segoe UI",
      Roboto,
      "Liberation Sans",
      sans-serif
    );
    display: block;
    color: var(--_text);
    font: 16px/1.5 var(--_font);
  }
  :host([theme="light"]) {
    color-scheme: light;
  }
  :host([theme="dark"]) {
    color-scheme: dark;
  }
  :host([hidden]) {
    display: none;
  }

  *,
  *::before,
  *::after {
    box-sizing: border-box;
  }
  h1,
  h2,
  h3,
  p,
  ul {
    margin: 0;
    padding: 0;
  }
  ul {
    list-style: none;
  }
  a {
    color: var(--_accent);
  }
  :focus-visible {
    outline: 2px solid var(--_accent);
    outline-offset: 2px;
  }

  .icon {
    width: 1.25em;
    height: 1.25em;
    flex: none;
    fill: currentColor;
    vertical-align: -0.25em;
  }
  .visually-hidden {
    position: absolute;
    width: 1px;
    height: 1px;
    margin: -1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }

  button,
  select,
  input[type="search"] {
    min-height: 36px;
    padding: 4px 12px;
    border: 1px solid var(--_control);
    border-radius: var(--_radius);
    background: var(--_surface);
    color: var(--_text);
    font: inherit;
  }
  ::placeholder {
    color: var(--_muted);
    opacity: 1;
  }
  button {
    cursor: pointer;
  }
  button:hover:not(:disabled) {
    background: var(--_subtle);
  }
  button:disabled {
    border-color: var(--_line);
    color: var(--_muted);
    cursor: default;
  }
  button.primary,
  button[aria-pressed="true"],
  button[aria-current="page"] {
    border-color: var(--_accent);
    background: var(--_accent);
    color: var(--_on-accent);
  }
  button.plain {
    border-color: transparent;
    background: none;
  }
  button.icon-only {
    min-width: 36px;
    padding: 4px 8px;
  }
  button.link {
    min-height: 24px;
    padding: 0;
    border: 0;
    background: none;
    color: var(--_accent);
    text-decoration: underline;
  }
  input[type="checkbox"] {
    width: 20px;
    height: 20px;
    accent-color: var(--_accent);
  }

  .message {
    padding: 12px 16px;
    border: 1px solid var(--_line);
    border-radius: var(--_radius);
    background: var(--_subtle);
  }
  .message.error {
    border-color: var(--_critical);
  }
  .message button {
    margin-inline-start: 8px;
  }
`;
