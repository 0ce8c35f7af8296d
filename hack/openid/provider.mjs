// A certified OpenID provider (npm's oidc-provider) on this machine.
//
// `node provider.mjs DIRECTORY [FILE]`: DIRECTORY has its node_modules. What it is to be comes as JSON
// from FILE, or as one line of standard input, and then it ends with its input. When it serves, it
// writes its issuer as one line, and into the file `readyFile` if there is one.
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const [directory, file] = process.argv.slice(2);
const require = createRequire(pathToFileURL(`${directory}/`));
const { Provider } = await import(pathToFileURL(require.resolve('oidc-provider')).href);

function configuration({ clients, accounts, keys, shortIdTokens }) {
  return {
    clients,
    clientDefaults: { id_token_signed_response_alg: keys[0].alg },
    jwks: { keys },
    cookies: { keys: ['of a demo or a test'] },
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

function newKey() {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...privateKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig' };
}

// The forms ask Google for a font; no request of a browser shall leave this machine.
async function withoutForeignFonts(context, next) {
  await next();
  if (context.response.is('html')) {
    context.body = context.body.replace(/@import url\([^)]*\);/, '');
  }
}

async function read() {
  if (file !== undefined) {
    return JSON.parse(readFileSync(file, 'utf8'));
  }
  const { value } = await createInterface({ input: process.stdin })[Symbol.asyncIterator]().next();
  process.stdin.on('end', () => process.exit(0));
  process.stdin.resume();
  return JSON.parse(value);
}

function announce(issuer, readyFile) {
  process.stdout.write(`${issuer}\n`);
  if (readyFile !== null) {
    writeFileSync(`${readyFile}.new`, `${issuer}\n`);
    renameSync(`${readyFile}.new`, readyFile); // So that nobody reads half of it.
  }
}

const wanted = await read();
wanted.keys = wanted.keys.length ? wanted.keys : [newKey()];
const server = createServer();
server.listen(wanted.port, wanted.host, () => {
  const issuer = `http://${wanted.host}:${server.address().port}`;
  const provider = new Provider(issuer, configuration(wanted));
  provider.use(withoutForeignFonts);
  server.on('request', provider.callback());
  announce(issuer, wanted.readyFile);
});
