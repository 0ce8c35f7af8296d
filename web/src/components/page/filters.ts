import { html, nothing, type TemplateResult } from "lit";
import { SEVERITIES } from "../../api/types";
import { cut, LINE_LENGTH } from "../../model/text";
import { AGES, SORTINGS, VIEWS, type ViewState } from "../../model/view";
import { AGE_LABELS, SEVERITY_LABELS, SORTING_LABELS, VIEW_LABELS } from "./labels";

export interface FiltersOptions {
  state: ViewState;
  topics: readonly string[];
  /** What stands in the search box; the list follows a little later. */
  searchText: string;
  onChange: (change: Partial<ViewState>) => void;
  onSearch: (text: string) => void;
  onSearchNow: () => void;
}

/** Draw the views, the search box and the filters. */
export function filters(options: FiltersOptions): TemplateResult {
  const { state, onChange } = options;
  return html`
    <form class="filters" role="search" @submit=${(event: Event) => submit(event, options)}>
      <div class="views" role="group" aria-label="View">
        ${VIEWS.map(
          (view) =>
            html`<button
              type="button"
              aria-pressed=${view === state.view}
              @click=${() => onChange({ view })}
            >
              ${VIEW_LABELS[view]}
            </button>`,
        )}
      </div>
      <div class="field search">
        <label for="search">Search</label>
        <input
          id="search"
          type="search"
          maxlength="255"
          placeholder="Title or description"
          .value=${options.searchText}
          @input=${(event: Event) => options.onSearch((event.target as HTMLInputElement).value)}
        />
      </div>
      ${choice("sent", "Sent out", state.age, labelled(AGES, AGE_LABELS), (age) => onChange({ age }))}
      ${choice("sort", "Sort by", state.sorting, labelled(SORTINGS, SORTING_LABELS), (sorting) =>
        onChange({ sorting }),
      )}
      ${choice(
        "severity",
        "Min severity",
        state.minSeverity,
        labelled(SEVERITIES, SEVERITY_LABELS),
        (minSeverity) => onChange({ minSeverity }),
      )}
      ${choice("topic", "Topic", state.topic, topicChoices(state, options.topics), (topic) =>
        onChange({ topic }),
      )}
    </form>
  `;
}

function submit(event: Event, options: FiltersOptions): void {
  event.preventDefault();
  options.onSearchNow();
}

function labelled<T extends string>(
  values: readonly T[],
  labels: Record<T, string>,
): [T, string][] {
  return values.map((value) => [value, labels[value]]);
}

function topicChoices(state: ViewState, topics: readonly string[]): [string | null, string][] {
  const known = state.topic === null || topics.includes(state.topic);
  return [
    [null, "Any topic"],
    ...(known ? topics : [state.topic!, ...topics]).map((topic): [string, string] => [
      topic,
      cut(topic, LINE_LENGTH),
    ]),
  ];
}

/** Options go by their place: a value of the server's is never mistaken for one of ours. */
function choice<T extends string | null>(
  id: string,
  label: string,
  current: T,
  choices: readonly (readonly [T, string])[],
  onChoose: (value: T) => void,
): TemplateResult {
  const choose = (event: Event): void =>
    onChoose(choices[(event.target as HTMLSelectElement).selectedIndex]![0]);
  return html`<div class="field">
    <label for=${id}>${label}</label>
    <select id=${id} @change=${choose}>
      ${choices.map(
        ([value, text]) =>
          html`<option .selected=${value === current} title=${text.length > 40 ? text : nothing}>
            ${text}
          </option>`,
      )}
    </select>
  </div>`;
}
