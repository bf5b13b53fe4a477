// An OpenID provider for the tests: npm's oidc-provider, and beside it the password of a SIP account behind a token.
//
//   node oidc.mjs PORT CERTS      https on 127.0.0.1, certificate CERTS/good.pem
//
// Clients: svc / svc-secret (client_credentials, scope sip.register) · weak / weak-secret (scope sip only)
//          resource / resource-secret (may introspect anybody's token) · cli (public: code with PKCE, device, refresh)
//          canary, stranger / their secret below (as svc; Kamailio lets canary register anybody, stranger nobody)
// GET  /sip-password   Authorization: Bearer TOKEN -> {"username", "password", "expires_in"}
// POST /control        a JSON object that is merged into `settings` below; answers with all of them
import { createServer } from 'node:https';
import { generateKeyPairSync } from 'node:crypto';
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';

// The packages are installed in the folder `node`, this file lies beside it.
const require = createRequire(fileURLToPath(new URL('./node/', import.meta.url)));
const { Provider } = await import(pathToFileURL(require.resolve('oidc-provider')));

const [port, certs] = process.argv.slice(2);
const issuer = `https://127.0.0.1:${port}`;
const settings = {
  accessTtl: 300, // seconds; also of the next token
  refreshTtl: 3600,
  deviceTtl: 600,
  failure: 0, // answer everything but /control with this status
  requests: 0, // that came, /control not counted
  passwords: { alice: 'secret123', bob: 'bobpass', carol: 'carolpass' },
  issued: [], // the tokens, newest last
};
const deviceGrant = 'urn:ietf:params:oauth:grant-type:device_code';
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const service = { grant_types: ['client_credentials'], redirect_uris: [], response_types: [] };

const provider = new Provider(issuer, {
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid: 'test' }] },
  cookies: { keys: ['test'] },
  clients: [
    { client_id: 'svc', client_secret: 'svc-secret', scope: 'sip sip.register', ...service },
    { client_id: 'canary', client_secret: 'kanari/client-secret+fdce8e4a%&=~65b70d18', scope: 'sip sip.register', ...service },
    { client_id: 'stranger', client_secret: 'kanari/client-secret+fdce8e4a%&=~65b70d18', scope: 'sip sip.register', ...service },
    { client_id: 'weak', client_secret: 'weak-secret', scope: 'sip', ...service },
    { client_id: 'odd:id', client_secret: 'odd%+secret', scope: 'sip sip.register', ...service },
    {
      client_id: 'post', client_secret: 'post-secret', token_endpoint_auth_method: 'client_secret_post',
      scope: 'sip sip.register', ...service,
    },
    { client_id: 'resource', client_secret: 'resource-secret', ...service },
    {
      client_id: 'cli', application_type: 'native', token_endpoint_auth_method: 'none', response_types: ['code'],
      grant_types: ['authorization_code', 'refresh_token', deviceGrant],
      redirect_uris: ['http://127.0.0.1/callback', 'http://[::1]/callback'],
    },
  ],
  scopes: ['openid', 'offline_access', 'sip', 'sip.register'],
  features: {
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    introspection: {
      enabled: true,
      allowedPolicy: (ctx, client, token) => client.clientId === 'resource' || client.clientId === token.clientId,
    },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: (ctx, client, oneOf) => oneOf ?? 'urn:sip:sip.test',
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: 'sip sip.register', audience: 'sip:sip.test', accessTokenTTL: settings.accessTtl,
        accessTokenFormat: 'opaque', // a JWT could not be introspected
      }),
    },
  },
  ttl: {
    AccessToken: () => settings.accessTtl,
    ClientCredentials: () => settings.accessTtl,
    RefreshToken: () => settings.refreshTtl,
    DeviceCode: () => settings.deviceTtl,
    AuthorizationCode: 60, Interaction: 600, Session: 3600, Grant: 3600, IdToken: 300,
  },
  rotateRefreshToken: true,
  pkce: { required: () => true },
  issueRefreshToken: async (ctx, client) => client.grantTypeAllowed('refresh_token'),
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
});
provider.on('server_error', (ctx, error) => console.error('server_error', error));
provider.on('grant.error', (ctx, error) => console.error('refused', ctx.oidc?.params?.grant_type, error.error));
provider.on('grant.success', (ctx) => {
  console.error('granted', ctx.oidc.params.grant_type, ctx.oidc.client.clientId);
  settings.issued.push(...[ctx.body.access_token, ctx.body.refresh_token].filter(Boolean));
});

const oidc = provider.callback();

function reply(response, status, body, headers = {}) {
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store', ...headers });
  response.end(JSON.stringify(body));
}

async function password(request, response) {
  const token = (request.headers.authorization ?? '').replace(/^bearer /i, '');
  const known = await provider.AccessToken.find(token) ?? await provider.ClientCredentials.find(token);
  if (!known || known.isExpired) return reply(response, 401, { error: 'invalid_token' });
  if (!(known.scope ?? '').split(' ').includes('sip.register')) return reply(response, 403, { error: 'insufficient_scope' });
  const wanted = new URL(request.url, issuer).searchParams.get('user');
  const user = known.accountId ?? wanted ?? 'alice'; // a service may ask for anybody, a person for himself
  if (!settings.passwords[user]) return reply(response, 404, { error: 'not_found' });
  return reply(response, 200, { username: user, password: settings.passwords[user], expires_in: 60 });
}

async function handle(request, response) {
  if (request.url === '/control') {
    let body = '';
    for await (const chunk of request) body += chunk;
    Object.assign(settings, JSON.parse(body));
    return reply(response, 200, settings);
  }
  settings.requests += 1;
  if (settings.failure) return reply(response, settings.failure, { error: 'temporarily_unavailable' }, { 'retry-after': '1' });
  if (request.url.startsWith('/sip-password')) return password(request, response);
  return oidc(request, response);
}

const server = createServer({ key: readFileSync(`${certs}/good.key`), cert: readFileSync(`${certs}/good.pem`) }, handle);
server.listen(Number(port), '127.0.0.1', () => console.log('listening', issuer));
process.on('SIGTERM', () => { server.closeAllConnections(); server.close(() => process.exit(0)); });
