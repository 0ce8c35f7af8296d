// Backstage's own signals client, run by Node.js.
//
// `node signals.mjs DIRECTORY BASE_URL`: DIRECTORY has the node_modules. Commands come as lines of
// JSON on standard input: {"token": TOKEN} sets what the client shows from now on, {"subscribe":
// CHANNEL} and {"unsubscribe": CHANNEL} do what they say. Every signal is written as one line of
// JSON: [CHANNEL, MESSAGE]. It ends with its input.
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const [, , directory, baseUrl] = process.argv;
// The package's own entry leads to all of Backstage's user interface.
const client = join(directory, 'node_modules/@backstage/plugin-signals/dist/api/SignalClient.esm.js');
const { SignalClient } = await import(pathToFileURL(client).href);

let token;
const signals = SignalClient.create({
  identity: { getCredentials: async () => ({ token }) },
  discoveryApi: { getBaseUrl: async plugin => `${baseUrl}/api/${plugin}` },
  reconnectTimeout: 200,
});
const subscriptions = new Map();

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  if ('token' in command) {
    token = command.token;
  } else if ('subscribe' in command) {
    const channel = command.subscribe;
    const write = message => process.stdout.write(`${JSON.stringify([channel, message])}\n`);
    subscriptions.set(channel, signals.subscribe(channel, write));
  } else {
    subscriptions.get(command.unsubscribe).unsubscribe();
  }
}
process.exit(0);
