import { FamaError } from './errors.ts';
import type { TokenSource } from './tokens.ts';

export type Query = Record<string, string | number | boolean | undefined>;

export interface Call {
  query?: Query;
  body?: unknown;
  /** Makes a creating call safe to repeat: the server answers a repetition with the first answer. */
  idempotencyKey?: string;
  signal?: AbortSignal;
}

export interface HttpOptions {
  /** Origin and path prefix of the server, such as `https://fama.example.com`; empty = the page's own origin. */
  url: string;
  /** Without it, calls carry no token. */
  tokens?: TokenSource;
  /** The longest a call may take. The server's own limit is 3 s. */
  timeoutMs?: number;
  fetch?: typeof fetch;
}

/** Statuses that have no body; `Response` refuses one. */
const NO_BODY = new Set([204, 205, 304]);

/** HTTP with JSON bodies: the token, one retry with a new token after 401, a deadline, and typed errors. */
export class Http {
  readonly #url: string;
  readonly #tokens: TokenSource | undefined;
  readonly #timeoutMs: number;
  readonly #fetch: typeof fetch;

  constructor(options: HttpOptions) {
    this.#url = options.url.replace(/\/+$/, '');
    this.#tokens = options.tokens;
    this.#timeoutMs = options.timeoutMs ?? 5_000;
    // Bound to the global object: browsers refuse `fetch` as a method of anything else.
    this.#fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
  }

  /** The JSON of the answer; `undefined` for 204. Throws `FamaError`. */
  async call<T>(method: string, path: string, call: Call = {}): Promise<T> {
    const token = await this.#token(() => this.#tokens?.current());
    const response = await this.#send(method, path, call, token);
    if (response.status === 401 && token !== undefined) {
      await discard(response);
      const next = await this.#token(() => this.#tokens?.replace(token));
      return read<T>(await this.#send(method, path, call, next));
    }
    return read<T>(response);
  }

  async #token(get: () => Promise<string> | undefined): Promise<string | undefined> {
    try {
      return await get();
    } catch (thrown) {
      throw FamaError.from(thrown);
    }
  }

  async #send(method: string, path: string, call: Call, token: string | undefined): Promise<Response> {
    const headers: Record<string, string> = { accept: 'application/json' };
    if (token !== undefined) headers['authorization'] = `Bearer ${token}`;
    if (call.idempotencyKey !== undefined) headers['idempotency-key'] = call.idempotencyKey;
    const init: RequestInit = { method, headers };
    if (call.body !== undefined) {
      headers['content-type'] = 'application/json';
      init.body = JSON.stringify(call.body);
    }
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(), this.#timeoutMs);
    const stop = () => deadline.abort();
    call.signal?.addEventListener('abort', stop, { once: true });
    if (call.signal?.aborted) stop();
    try {
      const response = await this.#fetch(this.#url + path + queryString(call.query), { ...init, signal: deadline.signal });
      // The body is read here, under the same deadline.
      const body = NO_BODY.has(response.status) ? null : await response.arrayBuffer();
      return new Response(body, { status: response.status, headers: response.headers });
    } catch (thrown) {
      if (deadline.signal.aborted && !call.signal?.aborted) {
        throw new FamaError({ code: 'client_timeout', message: `no answer within ${this.#timeoutMs / 1000} s`, cause: thrown });
      }
      throw new FamaError({ code: 'network', message: 'the server could not be reached', cause: thrown });
    } finally {
      clearTimeout(timer);
      call.signal?.removeEventListener('abort', stop);
    }
  }
}

function queryString(query: Query | undefined): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined) params.set(name, String(value));
  }
  const text = params.toString();
  return text === '' ? '' : `?${text}`;
}

async function read<T>(response: Response): Promise<T> {
  if (!response.ok) throw await FamaError.fromResponse(response);
  if (response.status === 204) return undefined as T;
  try {
    return (await response.json()) as T;
  } catch (thrown) {
    throw new FamaError({ code: 'bad_response', message: 'the answer is not JSON', status: response.status, cause: thrown });
  }
}

async function discard(response: Response): Promise<void> {
  await response.body?.cancel();
}
