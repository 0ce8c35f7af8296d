// A certified OpenID provider (npm's oidc-provider) on loopback.
//
// `node provider.mjs DIRECTORY`: DIRECTORY has its node_modules. What it is to be comes as JSON on
// standard input; when it serves, it writes its issuer as one line. It ends with its input.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const require = createRequire(pathToFileURL(`${process.argv[2]}/`));
const { Provider } = await import(pathToFileURL(require.resolve('oidc-provider')).href);

function configuration({ clients, accounts, jwks, shortIdTokens }) {
  return {
    clients,
    clientDefaults: { id_token_signed_response_alg: jwks.keys[0].alg },
    jwks,
    cookies: { keys: ['of a test'] },
    pkce: { required: () => true, methods: ['S256'] },
    scopes: ['openid', 'profile', 'email'],
    claims: { openid: ['sub'], profile: ['backstage_entity_ref'], email: ['email', 'email_verified'] },
    // Strictly, claims that a scope asks for are in the user info alone (Core section 5.4).
    conformIdTokenClaims: shortIdTokens,
    findAccount: (context, id) =>
      id in accounts
        ? { accountId: id, claims: () => ({ sub: id, ...accounts[id] }) }
        : undefined,
    features: {
      devInteractions: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (context, resource) => ({
          scope: 'openid profile email',
          audience: resource,
          accessTokenFormat: 'jwt',
        }),
      },
    },
    extraTokenClaims: (context, token) => accounts[token.accountId],
    ttl: { AccessToken: 600, AuthorizationCode: 60, Grant: 600, IdToken: 600, Interaction: 600, Session: 600 },
  };
}

const lines = createInterface({ input: process.stdin });
const { value } = await lines[Symbol.asyncIterator]().next();
const wanted = JSON.parse(value);
const server = createServer();
server.listen(wanted.port, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  server.on('request', new Provider(issuer, configuration(wanted)).callback());
  process.stdout.write(`${issuer}\n`);
});
process.stdin.on('end', () => process.exit(0));
process.stdin.resume();
