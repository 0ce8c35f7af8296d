/** What a request can fail with; the messages are for people. */

const MESSAGE_LENGTH = 500;

/** The server answered, and the answer is an error. */
export class ResponseError extends Error {
  override readonly name: string;

  constructor(
    /** The name in upstream's envelope, as `InputError`. */
    name: string,
    message: string,
    readonly status: number,
    /** Seconds after which it may be tried again, if the server said so. */
    readonly retryAfter: number | null = null,
  ) {
    super(message);
    this.name = name;
  }

  /** Read the envelope `{error: {name, message}}`, or make do with the status. */
  static async from(response: Response): Promise<ResponseError> {
    const { name, message } = await readEnvelope(response);
    return new ResponseError(
      name ?? "ResponseError",
      message ?? `The server answered ${response.status} ${response.statusText}`.trim(),
      response.status,
      readRetryAfter(response),
    );
  }
}

/** There was no answer. */
export class ConnectionError extends Error {
  override readonly name = "ConnectionError";
}

/** There was an answer that is not what the API says. */
export class UnexpectedAnswerError extends Error {
  override readonly name = "UnexpectedAnswerError";
}

/** Tell whether it is about who asks. */
export function isUnauthenticated(error: unknown): boolean {
  return error instanceof ResponseError && error.status === 401;
}

/** Tell whether there is no such thing. */
export function isNotFound(error: unknown): boolean {
  return error instanceof ResponseError && error.status === 404;
}

/** Tell whether a request was given up on purpose. */
export function isAborted(error: unknown): boolean {
  return error instanceof Error && error.name === "AbortError";
}

/** Return what to tell people of an error. */
export function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function readEnvelope(response: Response): Promise<{ name?: string; message?: string }> {
  let body: unknown;
  try {
    body = await response.json();
  } catch {
    return {}; // A proxy's page, or nothing at all: the status says it.
  }
  const error = (body as { error?: { name?: unknown; message?: unknown } } | null)?.error;
  return {
    ...(typeof error?.name === "string" && { name: error.name.slice(0, MESSAGE_LENGTH) }),
    ...(typeof error?.message === "string" && { message: error.message.slice(0, MESSAGE_LENGTH) }),
  };
}

function readRetryAfter(response: Response): number | null {
  const seconds = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  return Number.isFinite(seconds) && seconds >= 0 ? seconds : null;
}
