/** What requests may look like: as strict as the gateway, and stricter with what we send ourselves. */

import { SEVERITIES, type SettingsMatrix, type Severity } from "../../src/api/types";
import type { Filters, OrderField } from "./store";

export class Refusal extends Error {
  constructor(
    readonly status: number,
    override readonly name: string,
    message: string,
  ) {
    super(message);
  }
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const COMMON = ["search", "read", "saved", "createdAfter", "minimumSeverity"];

export function bad(message: string): Refusal {
  return new Refusal(400, "InputError", message);
}

export function noQuery(query: URLSearchParams): void {
  checkNames(query, []);
}

export function topicsFilters(query: URLSearchParams): Filters {
  checkNames(query, COMMON);
  return commonFilters(query);
}

export function listOptions(query: URLSearchParams): {
  filters: Filters;
  limit: number;
  offset: number;
  orders: [OrderField, "asc" | "desc"][];
} {
  checkNames(query, [...COMMON, "topic", "limit", "offset", "orderField"]);
  const topic = query.get("topic");
  return {
    filters: { ...commonFilters(query), ...(topic !== null && { topic }) },
    limit: integer(query, "limit"),
    offset: integer(query, "offset"),
    orders: query.getAll("orderField").map(order),
  };
}

export function id(value: string): string {
  if (!UUID.test(value)) {
    throw new Refusal(404, "NotFoundError", "Not found");
  }
  return value;
}

export function update(body: unknown): { ids: string[]; read?: boolean; saved?: boolean } {
  const { ids, read, saved, ...rest } = object(body);
  checkEmpty(rest);
  if (!Array.isArray(ids) || ids.length === 0 || !ids.every((item) => UUID.test(String(item)))) {
    throw bad("ids must be a list of ids");
  }
  return { ids: ids as string[], ...flag("read", read), ...flag("saved", saved) };
}

export function nothing(body: unknown): void {
  checkEmpty(object(body));
}

export function settings(body: unknown, known: SettingsMatrix): SettingsMatrix {
  const { channels, ...rest } = object(body);
  checkEmpty(rest);
  for (const channel of array(channels)) {
    const { id: channelId, enabled, origins, ...others } = object(channel);
    checkEmpty(others);
    flag("enabled", enabled);
    if (!known.channels.some((candidate) => candidate.id === channelId)) {
      throw bad(`Invalid channel ${String(channelId)}`);
    }
    for (const origin of array(origins)) {
      const { topics = [], ...setting } = object(origin);
      checkSetting(setting);
      array(topics).forEach((topic) => checkSetting(object(topic)));
    }
  }
  return body as SettingsMatrix;
}

function checkSetting({ id: settingId, enabled, ...rest }: Record<string, unknown>): void {
  checkEmpty(rest);
  if (typeof settingId !== "string" || typeof enabled !== "boolean") {
    throw bad("a setting has an id and is enabled or not");
  }
}

function commonFilters(query: URLSearchParams): Filters {
  const search = query.get("search");
  const createdAfter = query.get("createdAfter");
  const minimumSeverity = query.get("minimumSeverity");
  if (createdAfter !== null && Number.isNaN(Date.parse(createdAfter))) {
    throw bad("Unexpected date format");
  }
  if (minimumSeverity !== null && !SEVERITIES.includes(minimumSeverity as Severity)) {
    throw bad("minimumSeverity must be one of them");
  }
  return {
    ...(search !== null && { search }),
    ...boolean(query, "read"),
    ...boolean(query, "saved"),
    ...(createdAfter !== null && { createdAfter: new Date(createdAfter) }),
    ...(minimumSeverity !== null && { minimumSeverity: minimumSeverity as Severity }),
  };
}

function checkNames(query: URLSearchParams, allowed: string[]): void {
  for (const name of query.keys()) {
    if (!allowed.includes(name)) {
      throw bad(`Unknown query parameter '${name}'`);
    }
    if (name !== "orderField" && query.getAll(name).length > 1) {
      throw bad(`The parameter ${name} is given more than once`);
    }
  }
}

function boolean(query: URLSearchParams, name: string): Record<string, boolean> {
  const value = query.get(name);
  if (value !== null && value !== "true" && value !== "false") {
    throw bad(`${name} must be true or false`);
  }
  return value === null ? {} : { [name]: value === "true" };
}

function integer(query: URLSearchParams, name: string): number {
  const value = query.get(name) ?? "";
  if (!/^\d+$/.test(value)) {
    throw bad(`${name} must be an integer`);
  }
  return Number(value);
}

function order(value: string): [OrderField, "asc" | "desc"] {
  const match = /^(created|topic|origin),(asc|desc)$/.exec(value);
  if (match === null) {
    throw bad(`Unknown orderField ${value}`);
  }
  return [match[1] as OrderField, match[2] as "asc" | "desc"];
}

function flag(name: string, value: unknown): Record<string, boolean> {
  if (value !== undefined && typeof value !== "boolean") {
    throw bad(`${name} must be a boolean`);
  }
  return value === undefined ? {} : { [name]: value };
}

function object(value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw bad("must be an object");
  }
  return value as Record<string, unknown>;
}

function array(value: unknown): unknown[] {
  if (!Array.isArray(value)) {
    throw bad("must be a list");
  }
  return value;
}

function checkEmpty(rest: Record<string, unknown>): void {
  const names = Object.keys(rest);
  if (names.length > 0) {
    throw bad(`unknown: ${names.join(", ")}`);
  }
}
