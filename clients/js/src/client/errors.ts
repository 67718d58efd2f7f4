/** Codes of the server's error body, and three of this client's own: `network`, `client_timeout`, `bad_response`. */
export type ErrorCode =
  | 'bad_request'
  | 'unauthorized'
  | 'forbidden'
  | 'not_found'
  | 'timeout'
  | 'conflict'
  | 'payload_too_large'
  | 'validation_failed'
  | 'idempotency_key_reused'
  | 'rate_limited'
  | 'internal'
  | 'unavailable'
  | 'upstream_timeout'
  | 'network'
  | 'client_timeout'
  | 'bad_response'
  | (string & {});

interface Init {
  code: ErrorCode;
  message: string;
  status?: number;
  details?: unknown;
  retryAfterMs?: number | null;
  requestId?: string | null;
  cause?: unknown;
}

const RETRYABLE = new Set<string>([
  'timeout',
  'conflict',
  'rate_limited',
  'internal',
  'unavailable',
  'upstream_timeout',
  'network',
  'client_timeout',
]);

/** Every failure of a call to the server. */
export class FamaError extends Error {
  readonly code: ErrorCode;
  /** HTTP status; 0 when there was no answer. */
  readonly status: number;
  readonly details: unknown;
  /** What the server asked for by `Retry-After`. */
  readonly retryAfterMs: number | null;
  /** `X-Request-Id`, to find the request in the server's log. */
  readonly requestId: string | null;

  constructor(init: Init) {
    super(init.message, init.cause === undefined ? undefined : { cause: init.cause });
    this.name = 'FamaError';
    this.code = init.code;
    this.status = init.status ?? 0;
    this.details = init.details ?? null;
    this.retryAfterMs = init.retryAfterMs ?? null;
    this.requestId = init.requestId ?? null;
  }

  /** Whether the same call may succeed later. A creating call is only safe to repeat under the same idempotency key. */
  get retryable(): boolean {
    return RETRYABLE.has(this.code);
  }

  /** Turns anything thrown into a `FamaError`. */
  static from(thrown: unknown): FamaError {
    if (thrown instanceof FamaError) return thrown;
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return new FamaError({ code: 'network', message, cause: thrown });
  }

  /** Reads the error body of an answer that is not 2xx; a body of another shape (from a proxy, say) is tolerated. */
  static async fromResponse(response: Response): Promise<FamaError> {
    let body: unknown = null;
    try {
      body = await response.json();
    } catch {
      // Not JSON: the status says enough.
    }
    const fields = isRecord(body) ? body : {};
    return new FamaError({
      code: typeof fields['error'] === 'string' ? fields['error'] : codeOfStatus(response.status),
      message: typeof fields['message'] === 'string' ? fields['message'] : `the server answered ${response.status}`,
      status: response.status,
      details: fields['details'],
      retryAfterMs: retryAfter(response.headers.get('retry-after')),
      requestId: response.headers.get('x-request-id'),
    });
  }
}

function codeOfStatus(status: number): ErrorCode {
  const known: Record<number, ErrorCode> = {
    400: 'bad_request',
    401: 'unauthorized',
    403: 'forbidden',
    404: 'not_found',
    408: 'timeout',
    409: 'conflict',
    413: 'payload_too_large',
    422: 'validation_failed',
    429: 'rate_limited',
    502: 'unavailable',
    503: 'unavailable',
    504: 'upstream_timeout',
  };
  return known[status] ?? (status >= 500 ? 'internal' : 'bad_request');
}

/** `Retry-After` in seconds or as a date, capped at one hour. */
function retryAfter(header: string | null): number | null {
  if (header === null) return null;
  const seconds = Number(header);
  const ms = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), 3_600_000) : null;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
