import { html, nothing, type TemplateResult } from "lit";
import { ICONS } from "../../model/icons";
import { pageCount, pagesToOffer } from "../../model/paging";
import { PAGE_SIZES, type ViewState } from "../../model/view";
import { icon } from "../icon";

export interface PagerOptions {
  /** Where the user wants to be: quick steps add up, though the list follows a little later. */
  wanted: ViewState;
  /** What the list shows. */
  shown: ViewState;
  totalCount: number;
  onPage: (page: number) => void;
  onPageSize: (size: number) => void;
}

/** Draw where in the list one is, and the ways elsewhere. */
export function pager(options: PagerOptions): TemplateResult {
  const { wanted, shown, totalCount, onPage } = options;
  const count = pageCount(totalCount, shown.pageSize);
  const size = (event: Event): void =>
    options.onPageSize(PAGE_SIZES[(event.target as HTMLSelectElement).selectedIndex]!);
  return html`<nav class="pager" aria-label="Pages">
    <div class="size">
      <label for="size">Rows per page</label>
      <select id="size" @change=${size}>
        ${PAGE_SIZES.map(
          (choice) => html`<option .selected=${choice === wanted.pageSize}>${choice}</option>`,
        )}
      </select>
    </div>
    <span class="range">${range(shown, totalCount)}</span>
    <ul class="pages">
      <li>${step("Previous page", "previous", wanted.page - 1, wanted.page > 0, onPage)}</li>
      ${pagesToOffer(shown.page, count).map((offered) =>
        offered === null
          ? html`<li aria-hidden="true">…</li>`
          : html`<li>
              <button
                aria-label="Page ${offered + 1}"
                aria-current=${offered === shown.page ? "page" : nothing}
                @click=${() => onPage(offered)}
              >
                ${offered + 1}
              </button>
            </li>`,
      )}
      <li>${step("Next page", "next", wanted.page + 1, wanted.page < count - 1, onPage)}</li>
    </ul>
  </nav>`;
}

function range({ page, pageSize }: ViewState, totalCount: number): string {
  const first = page * pageSize + 1;
  const last = Math.min(totalCount, first + pageSize - 1);
  return totalCount === 0 ? "0 of 0" : `${first}–${last} of ${totalCount}`;
}

function step(
  label: string,
  direction: string,
  page: number,
  possible: boolean,
  onPage: (page: number) => void,
): TemplateResult {
  return html`<button
    class="icon-only ${direction}"
    aria-label=${label}
    aria-disabled=${!possible}
    @click=${() => possible && onPage(page)}
  >
    ${icon(ICONS.chevron)}
  </button>`;
}
