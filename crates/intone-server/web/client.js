// Talking to the service.

let token = null;

/** Uses a token from now on; it is forgotten with the page. */
export function useToken(value) {
  token = value;
}

export function currentToken() {
  return token;
}

/** An answer that is an error: its code, and a message for people. */
export class ServiceError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

async function ask(path, options) {
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw new ServiceError("unreachable", "The service does not answer. Is it still running?");
  }
  if (response.ok) return response;
  let error = { code: "unknown", message: `The service answered ${response.status}.` };
  try {
    ({ error } = await response.json());
  } catch {
    // No JSON: something between the page and the service answered.
  }
  throw new ServiceError(error.code, error.message);
}

export const model = async () => (await ask("/v1/model")).json();

/** Sends a recording; when the service is busy, a few times. */
async function send(path, blob) {
  for (let n = 1; ; n += 1) {
    try {
      return await ask(path, { method: "POST", body: blob });
    } catch (error) {
      if (error.code !== "busy" || n === 5) throw error;
      await new Promise((resolve) => setTimeout(resolve, 400 * n));
    }
  }
}

export const recognize = async (blob) => (await send("/v1/recognize", blob)).json();
export const timeline = async (blob) => (await send("/v1/timeline", blob)).json();
export const picture = async (blob) => (await send("/v1/log-mel", blob)).blob();

/** A stream; `onMessage` gets what the service says, `onEnd(error or null)` is called once. */
export function openStream(hello, onMessage, onEnd) {
  const address = new URL("/v1/stream", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const socket = new WebSocket(address);
  socket.binaryType = "arraybuffer";
  let ended = false;
  const end = (error) => {
    if (!ended) onEnd(error);
    ended = true;
  };
  socket.onopen = () => socket.send(JSON.stringify(token ? { ...hello, token } : hello));
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.error) end(new ServiceError(message.error.code, message.error.message));
    else if (message.type === "end") end(null);
    else onMessage(message);
  };
  socket.onclose = () => end(new ServiceError("unreachable", "The connection to the service was lost."));
  return {
    push: (samples) => socket.readyState === WebSocket.OPEN && socket.send(samples),
    finish: () => socket.readyState === WebSocket.OPEN ? socket.send("end") : socket.close(),
  };
}
