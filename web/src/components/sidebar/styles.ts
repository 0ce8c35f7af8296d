import { css } from "lit";

export const sidebarStyles = css`
  .item {
    position: relative;
    display: flex;
    align-items: center;
    gap: 10px;
    min-height: 44px;
    padding: 8px 12px;
    border-radius: var(--_radius);
    color: inherit;
    text-decoration: none;
  }
  .item:hover {
    background: var(--_subtle);
  }
  .item.highlighted {
    background: var(--_subtle);
    box-shadow: inset 3px 0 0 var(--_accent);
  }
  .badge {
    min-width: 24px;
    padding: 0 6px;
    border-radius: 12px;
    background: var(--_accent);
    color: var(--_on-accent);
    font-size: 0.8125rem;
    font-weight: 600;
    line-height: 24px;
    text-align: center;
  }

  .snacks {
    position: fixed;
    inset: auto;
    width: min(420px, calc(100vw - 32px));
    margin: 0;
    padding: 0;
    border: 0;
    overflow: visible;
    background: none;
    color: var(--_text);
  }
  .snacks.top {
    top: 16px;
  }
  .snacks.bottom {
    bottom: 16px;
  }
  .snacks.left {
    left: 16px;
  }
  .snacks.center {
    left: 50%;
    translate: -50%;
  }
  .snacks.right {
    right: 16px;
  }
  .snack {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 4px 12px;
    margin-top: 8px;
    padding: 12px;
    border: 1px solid var(--_control);
    border-inline-start-width: 4px;
    border-radius: var(--_radius);
    background: var(--_surface);
    box-shadow: 0 4px 16px rgb(0 0 0 / 25%);
  }
  .dense .snack {
    padding: 4px 8px;
  }
  .snack.critical {
    border-color: var(--_critical);
  }
  .snack.high {
    border-color: var(--_high);
  }
  .critical .severity {
    color: var(--_critical);
  }
  .high .severity {
    color: var(--_high);
  }
  .normal .severity {
    color: var(--_normal);
  }
  .low .severity {
    color: var(--_low);
  }
  .title {
    flex: 1 1 160px;
    min-width: 0;
    overflow-wrap: anywhere;
  }
  .host {
    display: block;
    color: var(--_muted);
    font-size: 0.875rem;
  }
  .buttons {
    display: flex;
    align-items: center;
    gap: 4px;
    margin-inline-start: auto;
  }
  .buttons a {
    padding: 6px 8px;
  }
`;
