/** The matrix of settings: which origins and topics reach a user by which channel. */

import { describe } from "../api/errors";
import type { OriginSetting, SettingsMatrix } from "../api/types";

export interface OriginRow {
  id: string;
  topics: string[];
}

/** Return the rows: every origin that any channel names, with the topics that any names. */
export function originRows(matrix: SettingsMatrix): OriginRow[] {
  const rows = new Map<string, Set<string>>();
  for (const origin of matrix.channels.flatMap((channel) => channel.origins)) {
    const topics = rows.get(origin.id) ?? new Set();
    rows.set(origin.id, topics);
    origin.topics?.forEach((topic) => topics.add(topic.id));
  }
  return [...rows]
    .map(([id, topics]) => ({ id, topics: [...topics].sort() }))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** Tell whether it comes, as upstream's `isNotificationsEnabledFor`. */
export function isEnabled(
  matrix: SettingsMatrix,
  channelId: string,
  originId: string,
  topicId: string | null,
): boolean {
  const channel = matrix.channels.find((candidate) => candidate.id === channelId);
  const origin = channel?.origins.find((candidate) => candidate.id === originId);
  if (!origin) {
    return channel?.enabled ?? true;
  }
  const topic = origin.topics?.find((candidate) => candidate.id === topicId);
  return topic && topicId !== null ? topic.enabled : origin.enabled;
}

/** Return the matrix with one switch set; an origin's switch sets its topics too. */
export function withSwitch(
  matrix: SettingsMatrix,
  channelId: string,
  originId: string,
  topicId: string | null,
  enabled: boolean,
): SettingsMatrix {
  const row = originRows(matrix).find(({ id }) => id === originId);
  const setOrigin = (): OriginSetting => ({
    id: originId,
    enabled: topicId === null ? enabled : isEnabled(matrix, channelId, originId, null),
    topics: (row?.topics ?? []).map((id) => ({
      id,
      enabled:
        topicId === null || topicId === id ? enabled : isEnabled(matrix, channelId, originId, id),
    })),
  });
  return {
    channels: matrix.channels.map((channel) =>
      channel.id !== channelId
        ? channel
        : {
            ...channel,
            origins: channel.origins.some(({ id }) => id === originId)
              ? channel.origins.map((o) => (o.id === originId ? setOrigin() : o))
              : [...channel.origins, setOrigin()],
          },
    ),
  };
}

/**
 * Keeps the matrix that is shown and the one that is saved.
 *
 * A switch shows at once and the whole matrix is saved, as upstream does it. Saves follow one after
 * the other: what is toggled meanwhile goes with the next. A save that fails takes back all that is
 * not saved.
 */
export class SettingsEditor {
  #saved: SettingsMatrix;
  #shown: SettingsMatrix;
  #saving = false;
  #error: string | null = null;

  constructor(
    matrix: SettingsMatrix,
    private readonly save: (matrix: SettingsMatrix) => Promise<SettingsMatrix>,
    private readonly changed: () => void,
  ) {
    this.#saved = matrix;
    this.#shown = matrix;
  }

  get shown(): SettingsMatrix {
    return this.#shown;
  }

  get saving(): boolean {
    return this.#saving;
  }

  /** Why the last save failed. */
  get error(): string | null {
    return this.#error;
  }

  async toggle(
    channelId: string,
    originId: string,
    topicId: string | null,
    enabled: boolean,
  ): Promise<void> {
    this.#shown = withSwitch(this.#shown, channelId, originId, topicId, enabled);
    this.#error = null;
    this.changed();
    if (!this.#saving) {
      await this.#saveAll();
    }
  }

  async #saveAll(): Promise<void> {
    this.#saving = true;
    this.changed();
    try {
      let sent: SettingsMatrix;
      do {
        sent = this.#shown;
        this.#saved = await this.save(sent);
      } while (sent !== this.#shown);
    } catch (error) {
      this.#error = describe(error);
    } finally {
      this.#shown = this.#saved;
      this.#saving = false;
      this.changed();
    }
  }
}
