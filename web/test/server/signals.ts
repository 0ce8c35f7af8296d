/** The WebSocket of the mock server: Backstage's protocol, for those who show who they are. */

import type { IncomingMessage, Server } from "node:http";
import type { Duplex } from "node:stream";
import { WebSocketServer, type WebSocket } from "ws";

interface Connection {
  socket: WebSocket;
  user: string;
  channels: Set<string>;
}

export class Signals {
  readonly #connections = new Set<Connection>();
  readonly #server = new WebSocketServer({
    noServer: true,
    handleProtocols: (protocols) => [...protocols][0] ?? false,
  });
  /** Whether connections are refused, as by a server that is away. */
  refusing = false;
  /** How many connections there ever were, and how many were tried. */
  accepted = 0;
  tried = 0;

  constructor(
    http: Server,
    private readonly authenticate: (
      request: IncomingMessage,
      token: string | null,
    ) => string | null,
  ) {
    http.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head));
  }

  /** Those who would hear of something now. */
  get subscribers(): number {
    return [...this.#connections].filter(({ channels }) => channels.has("notifications")).length;
  }

  publish(user: string | null, message: unknown): void {
    for (const { socket, user: connected, channels } of this.#connections) {
      if (channels.has("notifications") && (user === null || user === connected)) {
        socket.send(JSON.stringify({ channel: "notifications", message }));
      }
    }
  }

  /** Send a text as it is, valid or not. */
  sendRaw(text: string): void {
    this.#connections.forEach(({ socket }) => socket.send(text));
  }

  drop(code?: number): void {
    for (const { socket } of this.#connections) {
      if (code === undefined) {
        socket.terminate();
      } else {
        socket.close(code);
      }
    }
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.tried += 1;
    const token = request.headers["sec-websocket-protocol"] ?? null;
    const user = this.authenticate(request, token);
    if (request.url !== "/api/signals" || user === null || this.refusing) {
      socket.end("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
      return;
    }
    this.#server.handleUpgrade(request, socket, head, (accepted) => this.#accept(accepted, user));
  }

  #accept(socket: WebSocket, user: string): void {
    this.accepted += 1;
    const connection: Connection = { socket, user, channels: new Set() };
    this.#connections.add(connection);
    socket.on("close", () => this.#connections.delete(connection));
    socket.on("message", (data: Buffer) => {
      const { action, channel } = JSON.parse(data.toString("utf8")) as Record<string, string>;
      if (action !== "subscribe" || channel !== "notifications") {
        throw new Error(`an unexpected message: ${data.toString("utf8")}`);
      }
      connection.channels.add(channel);
    });
  }
}
