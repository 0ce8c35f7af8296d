// Backstage's own notifications client, run by Node.js.
//
// `node notifications.mjs DIRECTORY BASE_URL`: DIRECTORY has the node_modules. Commands come as
// lines of JSON on standard input: {"token": TOKEN} sets what the client shows from now on, null
// nothing; {"call": METHOD, "arguments": [...]} calls a method, with `createdAfter` made a Date.
// Each call is answered by one line of JSON, {"value": VALUE} or {"error": ERROR}. It ends with its
// input.
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const [, , directory, baseUrl] = process.argv;
// The package's own entry leads to all of Backstage's user interface.
const client = join(
  directory,
  'node_modules/@backstage/plugin-notifications/dist/api/NotificationsClient.esm.js',
);
const { NotificationsClient } = await import(pathToFileURL(client).href);

let token = null;
const notifications = new NotificationsClient({
  discoveryApi: { getBaseUrl: async plugin => `${baseUrl}/api/${plugin}` },
  // As the IdentityAuthInjectorFetchMiddleware of @backstage/core-app-api.
  fetchApi: {
    fetch: (input, init) => {
      const request = new Request(input, init);
      if (token !== null) request.headers.set('authorization', `Bearer ${token}`);
      return fetch(request);
    },
  },
});

const withDates = (key, value) => (key === 'createdAfter' ? new Date(value) : value);

const describe = ({ name, message, statusCode, statusText, body, cause }) => ({
  name,
  message,
  statusCode,
  statusText,
  body,
  cause: cause && { name: cause.name, message: cause.message },
});

const answer = async command => {
  try {
    return { value: await notifications[command.call](...command.arguments) };
  } catch (error) {
    return { error: describe(error) };
  }
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line, withDates);
  if ('token' in command) {
    token = command.token;
  } else {
    process.stdout.write(`${JSON.stringify(await answer(command))}\n`);
  }
}
process.exit(0);
