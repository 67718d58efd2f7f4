/** Gives a valid connection token (a JWT) of the user; it is called again when the last one has run out. */
export type GetToken = () => Promise<string>;

/** Keeps one token for REST and the connection, and asks the app for another only once at a time. */
export class TokenSource {
  readonly #getToken: GetToken;
  #token: string | null = null;
  #pending: Promise<string> | null = null;
  /** The token given to the connection last: when it asks again, that one has run out. */
  #connectionToken: string | null = null;

  constructor(getToken: GetToken) {
    this.#getToken = getToken;
  }

  /** The token in use, or a first one. */
  async current(): Promise<string> {
    return this.#token ?? this.#fetch();
  }

  /** A token other than `rejected`, which the server did not accept. */
  async replace(rejected: string): Promise<string> {
    if (this.#token === rejected) this.#token = null;
    return this.current();
  }

  /** For the connection, which asks only when it has none, or when the one it has runs out. */
  async forConnection(): Promise<string> {
    const last = this.#connectionToken;
    const token = last === null ? await this.current() : await this.replace(last);
    this.#connectionToken = token;
    return token;
  }

  #fetch(): Promise<string> {
    this.#pending ??= this.#getToken()
      .then((token) => {
        this.#token = token;
        return token;
      })
      .finally(() => {
        this.#pending = null;
      });
    return this.#pending;
  }
}
