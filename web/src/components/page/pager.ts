import { html, nothing, type TemplateResult } from "lit";
import { ICONS } from "../../model/icons";
import { pageCount, pagesToOffer } from "../../model/paging";
import { PAGE_SIZES } from "../../model/view";
import { icon } from "../icon";

export interface PagerOptions {
  page: number;
  pageSize: number;
  totalCount: number;
  onPage: (page: number) => void;
  onPageSize: (size: number) => void;
}

/** Draw where in the list one is, and the ways elsewhere. */
export function pager(options: PagerOptions): TemplateResult {
  const { page, pageSize, totalCount, onPage } = options;
  const count = pageCount(totalCount, pageSize);
  const size = (event: Event): void =>
    options.onPageSize(PAGE_SIZES[(event.target as HTMLSelectElement).selectedIndex]!);
  return html`<nav class="pager" aria-label="Pages">
    <div class="size">
      <label for="size">Rows per page</label>
      <select id="size" @change=${size}>
        ${PAGE_SIZES.map(
          (choice) => html`<option .selected=${choice === pageSize}>${choice}</option>`,
        )}
      </select>
    </div>
    <span class="range">${range(options)}</span>
    <ul class="pages">
      <li>${step("Previous page", "previous", page - 1, page > 0, onPage)}</li>
      ${pagesToOffer(page, count).map((offered) =>
        offered === null
          ? html`<li aria-hidden="true">…</li>`
          : html`<li>
              <button
                aria-label="Page ${offered + 1}"
                aria-current=${offered === page ? "page" : nothing}
                @click=${() => onPage(offered)}
              >
                ${offered + 1}
              </button>
            </li>`,
      )}
      <li>${step("Next page", "next", page + 1, page < count - 1, onPage)}</li>
    </ul>
  </nav>`;
}

function range({ page, pageSize, totalCount }: PagerOptions): string {
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
