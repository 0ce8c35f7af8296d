import { css } from "lit";

export const pageStyles = css`
  :host {
    container-type: inline-size;
    padding: 16px;
    background: var(--_background);
  }
  header {
    margin-bottom: 16px;
  }
  h1 {
    font-size: 1.5rem;
    line-height: 1.3;
  }
  .subtitle {
    color: var(--_muted);
  }
  h2 {
    font-size: 1.125rem;
  }

  .columns {
    display: grid;
    grid-template-columns: minmax(0, 1fr);
    gap: 16px;
  }
  .list {
    display: grid;
    grid-template-columns: minmax(0, 1fr);
    gap: 12px;
    align-content: start;
  }

  .filters {
    display: grid;
    grid-template-columns: repeat(2, minmax(0, 1fr));
    gap: 12px;
    align-content: start;
  }
  .filters label {
    display: block;
    color: var(--_muted);
    font-size: 0.875rem;
  }
  .filters select,
  .filters input {
    width: 100%;
    text-overflow: ellipsis;
  }
  .views,
  .search {
    grid-column: 1 / -1;
  }
  .views {
    display: flex;
    flex-wrap: wrap;
    gap: 8px;
  }
  .views button {
    flex: 1 1 auto;
  }

  .toolbar,
  .pager {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    justify-content: space-between;
    gap: 8px 16px;
  }
  .toolbar label,
  .size {
    display: flex;
    align-items: center;
    gap: 8px;
  }
  .bulk,
  .pages,
  .buttons {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 8px;
  }
  .pages button {
    min-width: 36px;
    padding: 4px 8px;
  }
  .previous .icon {
    transform: scaleX(-1);
  }
  button[aria-disabled="true"] {
    border-color: var(--_line);
    color: var(--_muted);
    cursor: default;
  }
  button[aria-disabled="true"]:hover {
    background: var(--_surface);
  }

  .rows {
    overflow: clip;
    border: 1px solid var(--_line);
    border-radius: var(--_radius);
    background: var(--_surface);
  }
  .rows:empty {
    display: none;
  }
  .row {
    display: grid;
    grid-template-areas: "select severity body" ". . actions";
    grid-template-columns: auto auto minmax(0, 1fr);
    gap: 4px 12px;
    padding: 12px;
    border-inline-start: 4px solid transparent;
  }
  .row + .row {
    border-top: 1px solid var(--_line);
  }
  .row.unread {
    border-inline-start-color: var(--_accent);
  }
  .row.linked {
    background: var(--_subtle);
  }
  .row:focus-visible {
    outline-offset: -2px;
  }
  .select {
    display: block;
    grid-area: select;
    padding-top: 2px;
  }
  .severity {
    grid-area: severity;
    font-size: 1.25rem;
    line-height: 1.2;
  }
  .severity.critical {
    color: var(--_critical);
  }
  .severity.high {
    color: var(--_high);
  }
  .severity.normal {
    color: var(--_normal);
  }
  .severity.low {
    color: var(--_low);
  }
  .body {
    grid-area: body;
    overflow-wrap: anywhere;
  }
  h3 {
    font-size: 1rem;
    font-weight: 400;
  }
  .unread h3 {
    font-weight: 600;
  }
  .host,
  .meta {
    color: var(--_muted);
    font-size: 0.875rem;
    font-weight: 400;
  }
  .host .icon {
    width: 1em;
    height: 1em;
    margin-inline-start: 4px;
    vertical-align: -0.125em;
  }
  .description,
  .description p {
    white-space: pre-line;
  }
  div.description {
    white-space: normal;
  }
  .meta {
    display: flex;
    flex-wrap: wrap;
    gap: 0 12px;
  }
  .meta > * {
    min-width: 0;
  }
  .actions {
    display: flex;
    grid-area: actions;
    align-self: start;
    gap: 4px;
  }

  dialog {
    max-width: min(420px, calc(100vw - 32px));
    padding: 20px;
    border: 1px solid var(--_line);
    border-radius: var(--_radius);
    background: var(--_surface);
    color: var(--_text);
  }
  dialog::backdrop {
    background: rgb(0 0 0 / 50%);
  }
  dialog p {
    margin: 8px 0 16px;
  }
  .buttons {
    justify-content: flex-end;
  }

  @container (min-width: 640px) {
    .row {
      grid-template-areas: "select severity body actions";
      grid-template-columns: auto auto minmax(0, 1fr) auto;
    }
  }
  @container (min-width: 900px) {
    .columns {
      grid-template-columns: 240px minmax(0, 1fr);
      gap: 24px;
    }
    .filters {
      grid-template-columns: minmax(0, 1fr);
    }
    .views {
      flex-direction: column;
    }
  }
`;
