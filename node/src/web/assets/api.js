// The site's JSON API. Every failure is an `ApiError` with the site's own code and text.

const TIMEOUT_MS = 10_000;

export class ApiError extends Error {
  constructor(status, code, text) {
    super(text);
    this.status = status;
    this.code = code;
  }
}

export const get = (path) => ask(path, { method: "GET" });

export const post = (path, body, timeout_ms = TIMEOUT_MS) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }, timeout_ms);

async function ask(path, options, timeout_ms = TIMEOUT_MS) {
  let response;
  try {
    response = await fetch(path, { ...options, cache: "no-store", signal: AbortSignal.timeout(timeout_ms) });
  } catch {
    throw new ApiError(0, "unreachable", "the site does not answer");
  }
  if (response.status === 401) {
    location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  }
  const body = await response.json().catch(() => null);
  if (!response.ok || body === null) {
    throw new ApiError(response.status, body?.code ?? "unexpected", body?.text ?? `the site answered ${response.status}`);
  }
  return body;
}
