import { css } from "lit";

export const settingsStyles = css`
  section {
    display: grid;
    grid-template-columns: minmax(0, 1fr);
    gap: 12px;
    padding: 16px;
    border: 1px solid var(--_line);
    border-radius: var(--_radius);
    background: var(--_surface);
  }
  h2 {
    font-size: 1.125rem;
  }
  .scroll {
    overflow-x: auto;
  }
  table {
    width: 100%;
    border-collapse: collapse;
  }
  th,
  td {
    padding: 8px;
    border-top: 1px solid var(--_line);
    text-align: center;
  }
  thead th {
    border-top: 0;
  }
  th {
    font-weight: 600;
    overflow-wrap: anywhere;
  }
  th:first-child {
    min-width: 120px;
    text-align: start;
  }
  .topic th {
    padding-inline-start: 40px;
    font-weight: 400;
  }
  .expander {
    display: inline-flex;
    align-items: center;
    gap: 4px;
    padding-inline: 0 8px;
    font-weight: inherit;
    text-align: start;
  }
  .expander[aria-expanded="true"] .icon {
    rotate: 90deg;
  }
  .unexpandable {
    padding-inline-start: 24px;
  }

  input[role="switch"] {
    position: relative;
    width: 40px;
    height: 24px;
    margin: 0;
    border: 2px solid var(--_control);
    border-radius: 12px;
    appearance: none;
    background: var(--_surface);
    vertical-align: middle;
    cursor: pointer;
  }
  input[role="switch"]::before {
    position: absolute;
    inset-block-start: 3px;
    inset-inline-start: 3px;
    width: 14px;
    height: 14px;
    border-radius: 50%;
    background: var(--_control);
    content: "";
  }
  input[role="switch"]:checked {
    border-color: var(--_accent);
    background: var(--_accent);
  }
  input[role="switch"]:checked::before {
    inset-inline-start: 19px;
    background: var(--_on-accent);
  }
  input[role="switch"]:disabled {
    opacity: 0.5;
    cursor: default;
  }
  @media (forced-colors: active) {
    input[role="switch"] {
      appearance: auto;
    }
  }
`;
